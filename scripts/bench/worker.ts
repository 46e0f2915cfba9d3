import { connect } from '../../dist/sdk/index.js'

/** Worker of the benchmarks: `echo` gives its input back, `tree` spawns itself and says when each body ended. */
interface TreeInput {
  readonly depth: number
  readonly fanOut: number
}

const mesh = await connect({ socket: process.argv[2] })
const slots = Number(process.argv[3])
await mesh.work('echo', task => task.input, { slots })
await mesh.work<TreeInput>(
  'tree',
  async (task, context) => {
    const { depth, fanOut } = task.input
    if (depth > 0) {
      const spawns = Array.from({ length: fanOut }, () => context.spawn('tree', { depth: depth - 1, fanOut }))
      await Promise.all(spawns)
    }
    return { endedAt: performance.timeOrigin + performance.now() }
  },
  { slots }
)
process.stdout.write('ready\n')
