// The setting `client_address` in the words of the decision: blocks parsed by the one address grammar there is.
import type { ClientAddressSetting } from '../config/config.ts'
import { parseEntry } from '../core/address.ts'
import type { ClientAddressMode } from '../core/client-address.ts'
import { StartError } from './start-error.ts'

/** The address mode in the words of the decision. @throws StartError for a block that is none. */
export function toClientAddressMode(setting: ClientAddressSetting): ClientAddressMode {
  if (setting.mode !== 'xff-trusted-cidrs') return setting
  const cidrs = setting.trustedCidrs.map(text => {
    const entry = parseEntry(text)
    if (entry === null || entry.hostBits || entry.spansMapped) {
      throw new StartError(
        `client_address.trusted_cidrs: found ${JSON.stringify(text)}; accepted: an address, or a block without host bits.`,
      )
    }
    return entry.block
  })
  return { mode: 'xff-trusted-cidrs', cidrs, appended: setting.appended }
}
