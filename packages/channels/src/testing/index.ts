/** For tests of hosts: a chat platform in memory that can be told to fail. */
export { MemoryPlatform, type MemoryPlatformOptions } from './memory-platform.ts';
