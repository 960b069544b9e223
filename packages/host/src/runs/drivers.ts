/**
 * What runs the agents of a host: a driver that its program hands over, one that the configuration names, or the best of ours
 * on this machine.
 */
import type { Driver, DriverFactory, DriverPorts, HostProcess } from '@nanoclaw/containers';
import type { HostSettings } from '../data/index.ts';
import { messageOf } from '../errors/index.ts';
import { type LoadOptions, loadModule, type ModuleReference } from '../modules/index.ts';
import {
  absent,
  chooseIsolation,
  driverFor,
  type Isolation,
  type Machine,
  unavailableDriver,
} from './driver-choice.ts';

/** What choosing a driver takes. */
export interface ChooseDriverOptions {
  readonly settings: HostSettings;
  /** The driver of the program; it is taken before any other. */
  readonly driver: DriverFactory | undefined;
  /** The drivers of the configuration, by their names. */
  readonly drivers: Readonly<Record<string, ModuleReference>>;
  readonly load: LoadOptions;
  readonly machine: Machine;
  readonly process: HostProcess;
  readonly ports: DriverPorts;
}

/** A driver, and how it closes runs in. */
export interface ChosenDriver {
  readonly driver: Driver;
  readonly isolation: Isolation;
}

/**
 * Chooses. A driver of the configuration that cannot be loaded is no error: nothing is run then, because nothing may be run with
 * less isolation than was asked for, and the isolation says why. Rejects with what the program's own driver rejects with.
 */
export async function chooseDriver(options: ChooseDriverOptions): Promise<ChosenDriver> {
  const { settings, driver, drivers, load, machine, process, ports } = options;
  if (driver !== undefined) {
    return { driver: await driver(ports), isolation: { type: 'custom', driver: undefined } };
  }
  const reference = drivers[settings.driver];
  if (reference !== undefined) return configured(settings.driver, reference, load, ports);
  const isolation = await chooseIsolation(settings, machine);
  const { installId, stateFolder, clock } = ports;
  return {
    isolation,
    driver: driverFor(isolation, { installId, stateFolder, clock, config: settings, env: machine.env, process }),
  };
}

async function configured(
  name: string,
  reference: ModuleReference,
  load: LoadOptions,
  ports: DriverPorts,
): Promise<ChosenDriver> {
  try {
    const module = await loadModule(`driver "${name}"`, reference, load);
    const driver = await module.create({ kind: 'driver', is: isDriver }, ports);
    return { driver, isolation: { type: 'custom', driver: name } };
  } catch (error) {
    const isolation = absent(name, messageOf(error));
    return { driver: unavailableDriver(isolation), isolation };
  }
}

function isDriver(value: unknown): value is Driver {
  const methods = ['start', 'stop', 'list', 'logs', 'close'];
  return (
    typeof value === 'object' &&
    value !== null &&
    methods.every((name) => typeof Reflect.get(value, name) === 'function')
  );
}
