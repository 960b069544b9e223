/**
 * Service files: how the machine's own supervisor starts the daemon, and starts it again. Pure texts, and one function
 * that puts them where the supervisor of this user looks.
 *
 * The supervisor ends only the host's own process: its agents go on, and the next host adopts them.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf, Problem } from '@nanoclaw/host/errors';
import { replaceFile } from '@nanoclaw/session-db';

/** What a supervisor is to start. */
export interface Service {
  /** The Node to run with, absolute. */
  readonly node: string;
  /** The host's program, absolute. */
  readonly program: string;
  /** The data folder, absolute. */
  readonly data: string;
  /** How long a stop waits for what is under way, in milliseconds. */
  readonly stopMaxMs: number;
  /** The directories in which programs are looked for, as in `PATH`. */
  readonly path: string;
}

/** What starts programs on a machine. */
export type Supervisor = 'systemd' | 'launchd';

/** The supervisor of a platform (`process.platform`); `undefined` where there is none that we know. */
export function supervisorOf(platform: string): Supervisor | undefined {
  if (platform === 'linux') return 'systemd';
  return platform === 'darwin' ? 'launchd' : undefined;
}

/**
 * Writes the service file for this user below `home` and gives its path and the commands that come next. Writing it again
 * replaces it. Throws a `Problem` (exit code 1) when it cannot be written.
 */
export function installService(
  supervisor: Supervisor,
  service: Service,
  home: string,
): { readonly file: string; readonly next: readonly string[] } {
  const { path, next } = PLACES[supervisor];
  const file = join(home, path);
  try {
    mkdirSync(dirname(file), { recursive: true });
    replaceFile(file, serviceText(supervisor, service), 0o644);
  } catch (error) {
    throw new Problem(`${file} could not be written (${messageOf(error)}); nothing was installed.`, 1, {
      cause: error,
    });
  }
  return { file, next: next(file) };
}

/** The text of the service file. */
export function serviceText(supervisor: Supervisor, service: Service): string {
  return supervisor === 'systemd' ? systemdUnit(service) : launchdAgent(service);
}

const PLACES = {
  systemd: {
    path: '.config/systemd/user/nanoclaw.service',
    next: () => [
      'systemctl --user daemon-reload',
      'systemctl --user enable --now nanoclaw',
      'loginctl enable-linger "$USER"   # so that it runs while nobody is logged in',
    ],
  },
  launchd: {
    path: 'Library/LaunchAgents/nanoclaw.plist',
    next: (file: string) => [`launchctl bootstrap gui/$(id -u) ${file}`],
  },
} as const satisfies Record<Supervisor, { path: string; next: (file: string) => readonly string[] }>;

/** What a stop takes besides its waits, in seconds, before the supervisor kills. */
const STOP_SPARE_S = 10;

/** What a restart does not mend: a wrong configuration, another host on the folder, a folder that cannot be used. */
const NOT_RESTARTED = [2, 3, 4];

function systemdUnit({ node, program, data, stopMaxMs, path }: Service): string {
  const words = [node, program, 'start', '--data', data].map(systemdWord).join(' ');
  return `[Unit]
Description=NanoClaw
StartLimitIntervalSec=0

[Service]
ExecStart=${words}
Environment=${systemdWord(`PATH=${path}`)}
UMask=0077
# One that crashes at every start waits longer each time by itself.
Restart=always
RestartSec=2
RestartPreventExitStatus=${NOT_RESTARTED.join(' ')}
# Only the host: its agents go on and are adopted at the next start.
KillMode=process
TimeoutStopSec=${Math.ceil(stopMaxMs / 1_000) + STOP_SPARE_S}

[Install]
WantedBy=default.target
`;
}

/** In quotes, with what systemd would expand written twice. */
function systemdWord(word: string): string {
  return `"${word.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;
}

function launchdAgent({ node, program, data, stopMaxMs, path }: Service): string {
  const words = [node, program, 'start', '--data', data].map((word) => `    <string>${xml(word)}</string>`).join('\n');
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>nanoclaw</string>
  <key>ProgramArguments</key>
  <array>
${words}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>PATH</key>
    <string>${xml(path)}</string>
  </dict>
  <key>Umask</key>
  <integer>63</integer>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>10</integer>
  <!-- Only the host: its agents go on and are adopted at the next start. -->
  <key>AbandonProcessGroup</key>
  <true/>
  <key>ExitTimeOut</key>
  <integer>${Math.ceil(stopMaxMs / 1_000) + STOP_SPARE_S}</integer>
</dict>
</plist>
`;
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
