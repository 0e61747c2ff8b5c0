package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/seed7529eb29/regent/manager/warden"
)

// driftMax is the difference in rate of two clocks that leases allow for; each
// may have half of it.
const driftMax = 1e-3

// Clock looks at the rate of this machine's clock, and at how far its wall
// clock is from a server's. Only the rate counts: leases are durations.
func Clock(ahead time.Duration, known bool) []Check {
	checks := []Check{clockRate()}
	switch {
	case !known:
	case ahead.Abs() > time.Minute:
		checks = append(checks, warning("wall clock", "start a time service; leases don't need it, people who read logs do",
			"%v off the NATS server's", ahead.Round(time.Second)))
	default:
		checks = append(checks, ok("wall clock", "within a minute of the NATS server's"))
	}
	return checks
}

func clockRate() Check {
	rate, err := drift()
	switch {
	case err != nil:
		return skipped("clock rate", "can't be read here: %v", err)
	case rate > driftMax/2 || rate < -driftMax/2:
		return failed("clock rate", "let the time service steer it less: leases allow for one in a thousand between two hosts",
			"it is steered by %+.0f parts in a million", rate*1e6)
	}
	return ok("clock rate", "steered by %+.0f parts in a million", rate*1e6)
}

// Warden looks at what ends a node's apps should the node die.
func Warden() Check {
	if runtime.GOOS != "linux" {
		return warning("warden", "expect failovers after the lease, not sooner", "none on %s: the lease alone decides", runtime.GOOS)
	}
	if err := warden.Cgroups(); err != nil {
		return warning("warden", "give the node a cgroup of its own to write in (systemd: Delegate=yes)",
			"it ends process groups; what leaves its group is not ended (%v)", err)
	}
	return ok("warden", "cgroups of version 2 are writable: whatever an app starts ends with it")
}

// spaceMin is what a voter's store may need, with room for others' files.
const spaceMin = 256 << 20

// DataDir looks at where a node keeps its state.
func DataDir(dir string) Check {
	const name = "data directory"
	at := dir
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return failed(name, "choose another --data", "%s is not a directory", at)
		}
		if err == nil {
			break
		}
		parent := filepath.Dir(at)
		if parent == at {
			return failed(name, "choose another --data", "%v", err)
		}
		at = parent
	}
	probe, err := os.CreateTemp(at, ".regent-doctor-*")
	if err != nil {
		return failed(name, "let this user write there, or choose another --data", "%v", err)
	}
	_, _ = probe.Close(), os.Remove(probe.Name())
	free, err := freeSpace(at)
	switch {
	case err != nil:
		return ok(name, "%s can be written", dir)
	case free < spaceMin:
		return warning(name, "make room: a voter that can't write can't vote", "%s has %s free", dir, megabytes(free))
	}
	return ok(name, "%s can be written, %s free", dir, megabytes(free))
}

func megabytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }
