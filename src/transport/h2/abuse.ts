// What a peer may ask of one connection. Many clients share it, so what a correct Envoy can cause for its clients is bounded
// stream by stream or slows reading down; only what no correct Envoy does ends the connection.

/** Streams whose request is incomplete or whose reply waits for window. */
export const STREAMS_MAX = 1024
/** Octets of a call's message. */
export const MESSAGE_MAX = 256 * 1024
/** Receive window of a stream: any message and its prefix, without updates. */
export const STREAM_WINDOW = MESSAGE_MAX + 16 * 1024
/** Receive window of a connection: also the most that incomplete requests hold. */
export const CONNECTION_WINDOW = 4 * 1024 * 1024
/** The same for the process; beyond it no connection gets credit. */
export const HELD_MAX = 64 * 1024 * 1024
/** CONTINUATION frames of one header block. */
export const CONTINUATIONS_MAX = 8
/** Size and number of header fields that a call may have; a larger list is refused. */
export const HEADER_LIST_MAX = 16 * 1024
export const HEADER_FIELDS_MAX = 128
/** A list that is larger than this is nobody's mistake. */
export const HEADER_LIST_ABSURD = 64 * 1024
/** Parameters of one SETTINGS frame. */
export const SETTINGS_PARAMETERS_MAX = 32
/** Octets of replies that wait for the peer: beyond it nothing more is read, or for want of window no call begun. */
export const BACKLOG_MAX = 1024 * 1024
/** The same with calls that were open before; a reply that has no room ends its stream. */
export const WAITING_MAX = 4 * BACKLOG_MAX
/** Ids of streams that ended, and of streams that we reset, kept to tell late frames from wrong ones. */
export const CLOSED_MAX = 1024

/** Until preface and SETTINGS are there. */
export const PREFACE_MS = 5000
/** Until our SETTINGS are acknowledged. */
export const SETTINGS_ACK_MS = 10_000
/** From HEADERS to END_STREAM, and for a header block. */
export const HALF_OPEN_MS = 1000
/** Without any octet taken by a peer that has replies to read, or any window for one. */
export const WRITE_STALL_MS = 10_000
/** How long reading pauses when resets come too fast. */
export const RESET_PAUSE_MS = 50

/** Each limit by the name that metrics give it. */
export const limitNames = [
  'preface',
  'settings_ack',
  'streams',
  'resets',
  'header_block',
  'header_list',
  'half_open',
  'message',
  'held',
  'settings',
  'ping',
  'control',
  'backlog',
  'write_stall',
  'connections',
] as const

export type LimitName = (typeof limitNames)[number]

/** How often each limit was met, by all connections of a server. */
export type LimitCounts = Record<LimitName, number>

export function createLimitCounts(): LimitCounts {
  return Object.fromEntries(limitNames.map(name => [name, 0])) as LimitCounts
}

/** What happens on connections in the course of things. */
export interface ConnectionEvents {
  /** RST_STREAM of peers. */
  resets: number
  /** Connections that were told to end. */
  goaways: number
  /** Times that a connection was not read for a while. */
  pauses: number
}

/** An allowance that refills with time. */
export class Allowance {
  private readonly burst: number
  private readonly perMs: number
  private left: number
  private at = 0

  constructor(burst: number, perSecond: number) {
    this.burst = burst
    this.perMs = perSecond / 1000
    this.left = burst
  }

  /** Takes one; false: none is left. `now` in milliseconds, never going back. */
  take(now: number): boolean {
    if (now > this.at) {
      this.left = Math.min(this.burst, this.left + (now - this.at) * this.perMs)
      this.at = now
    }
    if (this.left < 1) return false
    this.left--
    return true
  }

  /** Gives some back, for what was earned. */
  earn(count: number): void {
    this.left = Math.min(this.burst, this.left + count)
  }
}

export const resetAllowance = () => new Allowance(20_000, 10_000)
export const settingsAllowance = () => new Allowance(32, 4)
/** grpc-go measures the link with a PING for DATA that it gets, so each call brings one along. */
export const PINGS_PER_CALL = 1
export const pingAllowance = () => new Allowance(64, 8)
/** PRIORITY, WINDOW_UPDATE, empty DATA and unknown frames. */
export const controlAllowance = () => new Allowance(20_000, 10_000)
/** Control frames that each call may bring along. */
export const CONTROL_PER_CALL = 4
