// The setting `client_address` in the words of the decision: blocks parsed by the one address grammar there is.
import type { ClientAddressSetting, Config } from '../config/config.ts'
import { type ConfigFault, quoteFound } from '../config/fault.ts'
import { settingName } from '../config/settings.ts'
import { type EntryText, parseEntry } from '../core/address.ts'
import { cidrText } from '../core/cidr.ts'
import type { ClientAddressMode } from '../core/client-address.ts'
import { refuseFaults } from './start-error.ts'

/** Every block of proxies that cannot be meant. */
export function trustedBlockFaults({ clientAddress }: Pick<Config, 'clientAddress'>): ConfigFault[] {
  if (clientAddress?.mode !== 'xff-trusted-cidrs') return []
  return clientAddress.trustedCidrs.flatMap((text): ConfigFault[] => {
    const accepted = refusal(parseEntry(text))
    if (accepted === undefined) return []
    return [{ name: settingName('client_address.trusted_cidrs'), found: quoteFound(text), accepted }]
  })
}

/** What would be accepted instead; undefined: the entry itself. */
function refusal(entry: EntryText | null): string | undefined {
  if (entry === null) return 'an address or a block, such as 10.0.0.0/8 or fd00::/8'
  // Before host bits: 1.2.3.4/0 is meant for everybody.
  if (entry.block.prefix === 0) {
    return 'the blocks of the proxies in front of Envoy alone: one of every address would let each client write its own address'
  }
  if (entry.spansMapped)
    return 'an IPv6 block that does not hold the IPv4 addresses (::ffff:0:0/96); name IPv4 blocks on their own'
  return entry.hostBits ? `an address, or a block without host bits: ${cidrText(entry.block)}` : undefined
}

/** The address mode in the words of the decision. @throws StartError for blocks that cannot be meant */
export function toClientAddressMode(setting: ClientAddressSetting): ClientAddressMode {
  if (setting.mode !== 'xff-trusted-cidrs') return setting
  refuseFaults(trustedBlockFaults({ clientAddress: setting }))
  const cidrs = setting.trustedCidrs.flatMap(text => parseEntry(text)?.block ?? [])
  return { mode: 'xff-trusted-cidrs', cidrs, appended: setting.appended }
}
