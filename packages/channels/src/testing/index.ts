// For tests of hosts: a chat platform in memory that can be told to fail.
export {
  MemoryPlatform,
  type MemoryPlatformOptions,
  type ReceiveOutcome,
  type SendStep,
  type SentFile,
  type SentMessage,
} from './memory-platform.ts';
