/**
 * A filter for the kernel (seccomp) of the system calls that a reader of files has no use for: sockets, other processes,
 * mounts and namespaces, kernel keys and programs, and the side door past a mount (`open_by_handle_at`). They fail as if the
 * process had no right to them. Everything that Node, V8 and SQLite need passes.
 */

/** The filter for this processor, as bubblewrap takes it; `undefined` for one that it is not written for. Pure. */
export function systemCallFilter(arch: string): Buffer | undefined {
  if (arch !== 'x64' && arch !== 'arm64') return undefined;
  const at = arch === 'x64' ? 0 : 1;
  const refused = REFUSED.flatMap((numbers) => numbers[at] ?? []);
  const program = [
    instruction(LOAD, 0, 0, OFFSET.arch),
    // Calls of another kind of processor, which the kernel may take as well, have other numbers.
    instruction(JUMP_IF_EQUAL, 1, 0, ARCH[arch]),
    instruction(RETURN, 0, 0, KILL),
    instruction(LOAD, 0, 0, OFFSET.call),
    instruction(JUMP_IF_AT_LEAST, 0, 1, X32),
    instruction(RETURN, 0, 0, FAIL | EPERM),
    ...refused.flatMap((call) => [instruction(JUMP_IF_EQUAL, 0, 1, call), instruction(RETURN, 0, 0, FAIL | EPERM)]),
    // Its flags are in memory, which no filter sees; the C library then takes `clone`.
    instruction(JUMP_IF_EQUAL, 0, 1, CLONE3),
    instruction(RETURN, 0, 0, FAIL | ENOSYS),
    instruction(JUMP_IF_EQUAL, 0, 3, CLONE[arch]),
    instruction(LOAD, 0, 0, OFFSET.firstArgument),
    instruction(JUMP_IF_ANY_BIT, 0, 1, NEW_NAMESPACES),
    instruction(RETURN, 0, 0, FAIL | EPERM),
    instruction(RETURN, 0, 0, ALLOW),
  ];
  return Buffer.concat(program);
}

/** One of the kernel's `struct sock_filter` (`linux/filter.h`), little-endian as both processors are. */
function instruction(code: number, ifTrue: number, ifFalse: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}

const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;
const JUMP_IF_ANY_BIT = 0x45;
const RETURN = 0x06;

/** Within `struct seccomp_data` (`linux/seccomp.h`). */
const OFFSET = { call: 0, arch: 4, firstArgument: 16 } as const;

const KILL = 0x80000000;
const FAIL = 0x00050000;
const ALLOW = 0x7fff0000;
const EPERM = 1;
const ENOSYS = 38;

/** `AUDIT_ARCH_…` (`linux/audit.h`). */
const ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
/** Calls with this bit are those of the x32 interface; no other processor has such numbers. */
const X32 = 0x40000000;

const CLONE3 = 435;
const CLONE = { x64: 56, arm64: 220 } as const;
/** `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET` (`linux/sched.h`). */
const NEW_NAMESPACES = 0x7e020000;

/** The numbers of each call on x64 and arm64 (`asm/unistd_64.h`, `asm-generic/unistd.h`). */
const REFUSED: readonly (readonly [x64: number, arm64: number])[] = [
  // socket, ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_open, pidfd_getfd, pidfd_send_signal, process_madvise
  [41, 198],
  [101, 117],
  [310, 270],
  [311, 271],
  [312, 272],
  [434, 434],
  [438, 438],
  [424, 424],
  [440, 440],
  // mount, umount2, pivot_root, chroot, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
  [165, 40],
  [166, 39],
  [155, 41],
  [161, 51],
  [428, 428],
  [429, 429],
  [430, 430],
  [431, 431],
  [432, 432],
  [433, 433],
  [442, 442],
  // unshare, setns, name_to_handle_at, open_by_handle_at, mknodat
  [272, 97],
  [308, 268],
  [303, 264],
  [304, 265],
  [259, 33],
  // bpf, perf_event_open, userfaultfd, io_uring_setup, io_uring_enter, io_uring_register
  [321, 280],
  [298, 241],
  [323, 282],
  [425, 425],
  [426, 426],
  [427, 427],
  // add_key, request_key, keyctl
  [248, 217],
  [249, 218],
  [250, 219],
  // init_module, finit_module, delete_module, kexec_load, kexec_file_load, reboot, swapon, swapoff, acct, syslog, quotactl, personality
  [175, 105],
  [313, 273],
  [176, 106],
  [246, 104],
  [320, 294],
  [169, 142],
  [167, 224],
  [168, 225],
  [163, 89],
  [103, 116],
  [179, 60],
  [135, 92],
];
