// Load program: checks straight at a server over one connection. Takes a LoadOrder as JSON and prints a LoadResult.
import { CheckClient } from './check-client.ts'
import type { LoadOrder } from './load-result.ts'
import { type Loader, measure } from './measured-run.ts'
import { clientAddress, isRaw, type MixName, requestsOf, toCheckRequest } from './requests.ts'

class CheckLoader implements Loader {
  readonly broken: Promise<never>
  onEnd: (intendedNs: number) => void = () => undefined
  private readonly client: CheckClient
  /** Intended times of requests that the connection does not take yet, oldest first. */
  private readonly waiting: number[] = []

  constructor(client: CheckClient) {
    this.client = client
    this.broken = client.broken
    client.onEnd = tag => {
      if (tag > 0) this.onEnd(tag)
      this.sendWaiting()
    }
  }

  get counts() {
    return this.client.counts
  }

  get underWay(): number {
    return this.client.open + this.waiting.length
  }

  keep(atOnce: number): void {
    this.client.depth = atOnce
    this.client.refill()
  }

  sendAt(intendedNs: number): void {
    this.waiting.push(intendedNs)
    this.sendWaiting()
  }

  private sendWaiting(): void {
    for (let due = this.waiting[0]; due !== undefined && this.client.send(due); due = this.waiting[0])
      this.waiting.shift()
  }
}

const order = JSON.parse(process.argv[2] ?? '') as LoadOrder
const mix = order.mix as MixName
const requests = requestsOf(mix)
const client = await CheckClient.connect(order.address, {
  messages: requests.map(request => toCheckRequest(request, isRaw(mix))),
  isAllowed: requests.map(({ status }) => status === 200),
  clientAddress,
})
const result = await measure(new CheckLoader(client), order)
client.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
