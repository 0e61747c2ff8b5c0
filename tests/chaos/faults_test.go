//go:build linux

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// apply replaces the whole table: there is never half a partition.
func (w *network) apply() error {
	var b strings.Builder
	b.WriteString("table bridge faults\ndelete table bridge faults\ntable bridge faults { chain f { type filter hook forward priority 0; policy accept;\n")
	for l, cut := range w.cuts {
		if cut {
			fmt.Fprintf(&b, "iifname p%d oifname p%d drop\n", l.from, l.to)
		}
	}
	for l, percent := range w.losses {
		fmt.Fprintf(&b, "iifname p%d oifname p%d numgen random mod 100 < %d drop\n", l.from, l.to, percent)
	}
	b.WriteString("}\n}\n")
	return w.hub.run(b.String(), "nft", "-f", "-")
}

// everybody but who looks on.
func (w *network) everybody() (all []int) {
	for _, h := range w.hosts[1:] {
		all = append(all, h.i)
	}
	return all
}

// cut drops what goes from some hosts to others.
func (w *network) cut(from, to []int) error {
	for _, i := range from {
		for _, j := range to {
			if i != j {
				w.cuts[link{i, j}] = true
			}
		}
	}
	return w.apply()
}

// between cuts a pair.
func (w *network) between(i, j int) error {
	w.cuts[link{i, j}], w.cuts[link{j, i}] = true, true
	return w.apply()
}

// isolate cuts hosts off from all others, but not from who looks on: else
// nothing would be seen of them. It carries nothing between them.
func (w *network) isolate(hosts ...int) error {
	others := slices.DeleteFunc(w.everybody(), func(i int) bool { return slices.Contains(hosts, i) })
	for _, i := range hosts {
		for _, j := range others {
			w.cuts[link{i, j}], w.cuts[link{j, i}] = true, true
		}
	}
	return w.apply()
}

// lose drops so many percent of everything.
func (w *network) lose(percent int) error {
	for _, i := range w.everybody() {
		for _, j := range w.everybody() {
			if i != j {
				w.losses[link{i, j}] = percent
			}
		}
	}
	return w.apply()
}

// heal ends every fault of the network.
func (w *network) heal() error {
	clear(w.cuts)
	clear(w.losses)
	for _, wire := range w.wires {
		wire.delay.Store(0)
		wire.jitter.Store(0)
	}
	return w.apply()
}

// delay makes every wire slow; a frame passes two of them.
func (w *network) delay(each, jitter time.Duration) {
	for _, wire := range w.wires[1:] {
		wire.delay.Store(int64(each))
		wire.jitter.Store(int64(jitter))
	}
}

// freeze stops every process of the host at once, or lets them run on. They can
// be killed meanwhile.
func (h *host) freeze(on bool) error {
	h.still.Lock()
	defer h.still.Unlock()
	h.froze = on
	state := "0"
	if on {
		state = "1"
	}
	if err := os.WriteFile(filepath.Join(h.cgroup, "cgroup.freeze"), []byte(state), 0); err != nil {
		return fmt.Errorf("freeze %s: %w", h.name, err)
	}
	if !on {
		return nil
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(h.cgroup, "cgroup.events"))
		if err == nil && strings.Contains(string(text), "frozen 1") {
			return nil
		}
	}
	return fmt.Errorf("%s does not freeze", h.name)
}

// pids are the processes in the host's cgroup and all below, the first one left
// out.
func (h *host) pids() (pids []int) {
	_ = filepath.WalkDir(h.cgroup, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
			return nil
		}
		text, _ := os.ReadFile(path)
		for f := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil && pid != h.init.Process.Pid {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// powerOff kills every process of the host. What is forked between two looks is
// met by the second; only the first process, which stands for the machine, stays.
func (h *host) powerOff() {
	for range 3 {
		for _, pid := range h.pids() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
