// One line that says what figures were taken on: those of other machines or days are no match for them.
import { describeMachine } from './compare/machine.ts'

export function machineLine(): string {
  const { cpu, cores, kernel, node, load, date } = describeMachine()
  return `${date}, ${cores} × ${cpu}, ${kernel}, Node ${node}, load ${load.toFixed(2)}`
}
