/** These tests cut cables and take well-known ports: never on the machine's own network. */
export function setup(): void {
  if (process.env.STARLING_SANDBOX !== '1')
    throw new Error('run these tests with test/cluster/run.sh (needs Linux with iproute2, unshare and nft)')
}
