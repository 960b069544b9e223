/**
 * Container engines for the tests: those that answer, and on Debian as root those that can be installed and started. What
 * we start is ours alone: it has its storage, sockets and networks in a folder of the tests and ends with them, and what
 * else is on the machine is neither seen nor changed.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { capture, explain, say, step } from './bootstrap.mjs';

/**
 * The engines that can be had.
 *
 * @param {string} folder for what they keep; a short path, for sockets lie in it
 * @param {NodeJS.ProcessEnv} given
 * @param {{ mayInstall: boolean }} options whether Debian's packages may be installed and a daemon be started
 * @returns {Promise<{ kind: 'docker' | 'podman', env: NodeJS.ProcessEnv, end: () => Promise<void> }[]>} `env` is for its
 *   client; `end` removes all that is ours
 */
export async function provideEngines(folder, given, { mayInstall }) {
  // What an engine calls lies there, and a root that came by `su` may look there in vain.
  const env = { ...given, PATH: `${given['PATH']}:/usr/sbin:/sbin` };
  const isOurs = mayInstall && existsSync('/usr/bin/apt-get') && process.getuid?.() === 0;
  if (isOurs) await install(env);
  const docker = (await answers('docker', env)) ? usual('docker', env) : isOurs && (await ownDocker(folder, env));
  const podman = process.getuid?.() === 0 ? ownPodman(folder, env) : usual('podman', env);
  return [docker, (await answers('podman', podman.env)) && podman].filter(Boolean);
}

async function answers(kind, env) {
  return (await capture(kind, ['info'], env)).code === 0;
}

/** An engine of the machine's own, whose images and containers have names of ours. */
function usual(kind, env) {
  return { kind, env, end: async () => {} };
}

/** What a plain Debian machine needs for either engine. */
const PACKAGES = {
  docker: { program: '/usr/sbin/dockerd', names: ['docker.io', 'runc'] },
  podman: { program: '/usr/bin/podman', names: ['podman', 'runc', 'netavark', 'aardvark-dns', 'iptables'] },
};

async function install(env) {
  const missing = Object.entries(PACKAGES).filter(([, { program }]) => !existsSync(program));
  if (missing.length === 0) return;
  const names = missing.flatMap(([, packages]) => packages.names);
  // The package would start its daemon at once; a machine at this run level starts none.
  const quiet = { ...env, RUNLEVEL: '1', DEBIAN_FRONTEND: 'noninteractive' };
  const what = `installing ${missing.map(([kind]) => kind).join(' and ')}`;
  try {
    await step('updating the list of packages', 'apt-get', ['update', '-q'], quiet);
    await step(what, 'apt-get', ['install', '-q', '-y', '--no-install-recommends', ...names], quiet);
  } catch (error) {
    explain(error);
  }
}

const DAEMON_READY_MAX_MS = 30_000;
const DAEMON_END_MAX_MS = 20_000;

/** A docker daemon of our own, without a bridge or any rule in the machine's firewall; `undefined` when it does not come. */
async function ownDocker(folder, env) {
  const at = (...names) => join(folder, 'docker', ...names);
  mkdirSync(at());
  writeFileSync(at('daemon.json'), '{}');
  const socket = `unix://${at('socket')}`;
  const args = [`--host=${socket}`, `--data-root=${at('data')}`, `--exec-root=${at('run')}`, `--pidfile=${at('pid')}`];
  args.push(`--config-file=${at('daemon.json')}`, '--bridge=none', '--iptables=false', '--ip6tables=false');
  const log = openSync(at('log'), 'w');
  // It ends when this process does, however that ends.
  const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', 'dockerd', ...args], { env, stdio: ['ignore', log, log] });
  const ended = new Promise((resolve) => daemon.once('error', resolve).once('exit', resolve));
  const isAlive = () => daemon.pid !== undefined && daemon.exitCode === null && daemon.signalCode === null;
  const end = async () => {
    daemon.kill('SIGTERM');
    await Promise.race([ended, delay(DAEMON_END_MAX_MS, undefined, { ref: false })]);
    if (isAlive()) daemon.kill('SIGKILL');
    await ended;
    // The daemon makes a mount of its own folder.
    await capture('umount', ['--recursive', '--lazy', at('data')], env);
  };
  const engine = { kind: 'docker', env: { ...env, DOCKER_HOST: socket }, end };
  const limit = Date.now() + DAEMON_READY_MAX_MS;
  while (isAlive() && Date.now() < limit) {
    if (await answers('docker', engine.env)) return engine;
    await delay(250);
  }
  await end();
  say(`docker's daemon cannot be started here (${readFileSync(at('log'), 'utf8').trim().split('\n').at(-1)}).`);
  return undefined;
}

/**
 * podman with storage, networks and settings of our own. Some machines allow less than the limits that podman asks for by
 * itself, and have no systemd.
 */
function ownPodman(folder, env) {
  const at = (...names) => join(folder, 'podman', ...names);
  const hasCrun = existsSync('/usr/bin/crun') || existsSync('/usr/local/bin/crun');
  mkdirSync(at('networks'), { recursive: true });
  writeFileSync(
    at('containers.conf'),
    `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=16384:16384"]
[engine]
${hasCrun ? '' : 'runtime = "runc"\n'}cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "${at('tmp')}"
[network]
network_config_dir = "${at('networks')}"
`,
  );
  writeFileSync(
    at('storage.conf'),
    `[storage]\ndriver = "overlay"\ngraphroot = "${at('storage')}"\nrunroot = "${at('run')}"\n`,
  );
  const own = {
    ...env,
    CONTAINERS_CONF: at('containers.conf'),
    CONTAINERS_STORAGE_CONF: at('storage.conf'),
    // A second time: from the file alone podman 4 does not write it down, and its own clean-up after a container then
    // refuses to work, so that ends are told late.
    STORAGE_DRIVER: 'overlay',
  };
  const end = async () => {
    await capture('podman', ['rm', '--all', '--force'], own);
    await capture('podman', ['rmi', '--all', '--force'], own);
    // The storage's own directory is a mount point of itself.
    await capture('umount', ['--recursive', at('storage', 'overlay')], own);
  };
  return { kind: 'podman', env: own, end };
}
