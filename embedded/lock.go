package embedded

import "errors"

// ErrDataDirInUse is wrapped when another server has the data directory.
var ErrDataDirInUse = errors.New("data directory is in use")

const lockFile = "lock"
