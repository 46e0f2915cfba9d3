import { createHash } from 'node:crypto'
import { realpathSync, statSync } from 'node:fs'
import { StarlingError } from '../../core/index.ts'

/**
 * Names the home directory of a daemon in marks and control groups: 16 hex digits of a hash over its real path, device
 * and inode. The latter two keep daemons in containers apart that share process ids and have equal paths.
 * @throws StarlingError HOME_UNUSABLE when there is no such directory
 */
export function homeId(home: string): string {
  try {
    const { dev, ino } = statSync(home)
    return createHash('sha256')
      .update(`${realpathSync(home)}\0${dev}\0${ino}`)
      .digest('hex')
      .slice(0, 16)
  } catch (cause) {
    throw new StarlingError('HOME_UNUSABLE', `cannot read directory ${home}`, {
      hint: 'make the directory before tasks are run',
      cause
    })
  }
}
