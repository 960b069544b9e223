/** The host's control socket: nobody connects to it here. */
export class ControlServer {
  static async listen(): Promise<ControlServer> {
    return new ControlServer();
  }

  async close(): Promise<void> {
    // There is no socket.
  }
}
