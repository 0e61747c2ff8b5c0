package embedded

import "errors"

// ErrDataDirInUse is wrapped when another server or node has a data directory.
var ErrDataDirInUse = errors.New("data directory is in use")

const lockFile = "lock"
