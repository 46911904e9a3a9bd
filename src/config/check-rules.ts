// Rules that join several settings or depend on the role: what must be set together, what a listener may be open to.
// Judges only what passed its own check, so that one mistake gives one fault.
import { clientAddressFaults } from './client-address-rules.ts'
import type { ConfigFault } from './fault.ts'
import { listenerFaults } from './listener-rules.ts'
import type { Given } from './rule.ts'
import { storageFaults } from './storage-rules.ts'

/** Every broken rule. */
export function checkRules(given: Given): ConfigFault[] {
  return [...listenerFaults(given), ...clientAddressFaults(given), ...storageFaults(given)]
}
