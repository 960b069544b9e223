// For tests of hosts: a chat platform in memory that can be told to fail.
export {
  type Heard,
  MemoryPlatform,
  type MemoryPlatformOptions,
  type Shown,
  type ShownFile,
  type Step,
} from './memory-platform.ts';
