import { connect } from '../../src/sdk/index.ts'

/** A worker whose tasks never end. Arguments: socket, capability, slots. Prints the id of each task that it begins. */
const [socket, capability = '', slots] = process.argv.slice(2)
const mesh = await connect({ socket })
await mesh.work(
  capability,
  task => {
    process.stdout.write(`${task.taskId}\n`)
    return new Promise(() => undefined)
  },
  { slots: Number(slots) }
)
