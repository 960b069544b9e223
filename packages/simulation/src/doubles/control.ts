/** The host's control socket: no client connects to it here. */
export class ControlServer {
  static async listen(): Promise<ControlServer> {
    return new ControlServer();
  }

  async close(): Promise<void> {
    // There is no socket.
  }
}
