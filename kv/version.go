package kv

import (
	"fmt"
	"strconv"
	"strings"
)

// serverMin is the oldest server whose compare-and-set, republishing and
// settings of streams are those that this package is tested with.
const serverMin = "2.12.0"

// CheckServer refuses a server that is too old, with ErrOldServer. A version
// that can't be read is that of somebody who builds their own.
func CheckServer(version string) error {
	have, ok := versionOf(version)
	least, _ := versionOf(serverMin)
	if ok && (have[0] < least[0] || have[0] == least[0] && have[1] < least[1]) {
		return fmt.Errorf("%w: it is %s", ErrOldServer, version)
	}
	return nil
}

// versionOf reads MAJOR.MINOR.
func versionOf(s string) (v [2]int, ok bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return v, false
	}
	for i := range v {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}
