package warden

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// slim gives back the pages of the program's text that only its start has
// needed: a warden waits for weeks, and uses a fraction of what was touched by
// the initialization of everything that a node is made of. They are clean pages
// of a file, which come back when they are used, without the disk: the agent has
// them in memory.
//
// Text only: other pages that can't be written to now may have been, by
// whatever loaded a program that is relocated.
func slim() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		// 00401000-00cb5000 r-xp 00001000 fe:00 1234   /usr/bin/regent
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "r-xp" || f[5] != exe {
			continue
		}
		var begin, end uintptr
		if _, err := fmt.Sscanf(f[0], "%x-%x", &begin, &end); err != nil {
			return fmt.Errorf("read memory map: %w", err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back text: %w", errno)
		}
	}
	return nil
}
