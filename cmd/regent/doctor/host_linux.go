package doctor

import "golang.org/x/sys/unix"

// drift is by how much the kernel lets its clock run fast, as a fraction: tick
// in microseconds of a tick's nominal length, freq in millionths with 16 bits
// behind the point.
func drift() (float64, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return 0, err
	}
	const tickNominal = 10000.0 // at 100 Hz, which is what the kernel tells users
	return float64(t.Tick)/tickNominal - 1 + float64(t.Freq)/(1<<16)/1e6, nil
}

func freeSpace(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
