//go:build linux

package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// network is a switch and the hosts on it.
type network struct {
	dir, id string
	spawner *thread // in the namespaces of the test
	hub     *host   // the switch
	hosts   []*host // 1 and up; 0 is whoever looks on
	wires   []*wire // of every host, if there are any
	cuts    map[link]bool
	losses  map[link]int
}

// host is a machine: it ends with its first process.
type host struct {
	i      int
	name   string
	ip     string
	init   *exec.Cmd
	stdin  io.Closer
	in     *thread
	cgroup string // of version 2: what can be frozen, and looked through
	place  *os.File

	still sync.Mutex // a start and a freeze exclude one another
	froze bool       // under still
}

// link is one direction between two hosts.
type link struct{ from, to int }

// addressOf is where a host is found: private to the namespaces, so that every
// network has the same.
func addressOf(i int) string { return fmt.Sprintf("10.77.0.%d", 100+i) }

// newNetwork makes n hosts, and the one that looks on. With wires every frame
// goes through this process, which can delay it.
func newNetwork(dir string, n int, wired bool) (_ *network, err error) {
	w := &network{dir: dir, id: cgroupName(os.Getpid()) + filepath.Base(dir), cuts: map[link]bool{}, losses: map[link]int{}}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.spawner, err = newThread(0); err != nil {
		return nil, err
	}
	if w.hub, err = w.newHost(-1, syscall.CLONE_NEWNET, "net"); err != nil {
		return nil, err
	}
	if err := w.hub.run("", "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"); err != nil {
		return nil, err
	}
	if err := w.hub.run("", "ip", "link", "set", "br0", "up"); err != nil {
		return nil, err
	}
	for i := range n + 1 {
		h, err := w.newHost(i, syscall.CLONE_NEWNET|syscall.CLONE_NEWPID|syscall.CLONE_NEWNS, "mnt", "net", "pid")
		if err != nil {
			return nil, err
		}
		w.hosts = append(w.hosts, h)
		if err := w.plug(h, wired); err != nil {
			return nil, err
		}
	}
	return w, w.apply()
}

// cgroupRoot is where cgroups of version 2 are; "" if nowhere.
func cgroupRoot() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir
		}
	}
	return ""
}

// cgroupName begins the names of the cgroups of a test process.
func cgroupName(pid int) string { return fmt.Sprintf("chaos-%d-", pid) }

// sweepCgroups removes the cgroups of test processes that were killed: they are
// all that can outlive one.
func sweepCgroups() {
	root := cgroupRoot()
	if root == "" {
		return
	}
	dirs, _ := filepath.Glob(filepath.Join(root, "chaos-*"))
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "chaos-%d-", &pid); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, os.ErrNotExist) {
			removeCgroups(dir)
		}
	}
}

func (w *network) newHost(i int, flags uintptr, namespaces ...string) (*host, error) {
	h := &host{i: i, name: fmt.Sprintf("h%d", i), ip: addressOf(i), init: exec.Command(stagehand(), "init")}
	if i < 0 {
		h.name = "switch"
	}
	h.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if flags&syscall.CLONE_NEWPID == 0 {
		h.init.Args[1] = "hold"
	}
	h.cgroup = filepath.Join(cgroupRoot(), w.id+"-"+h.name)
	if err := os.Mkdir(h.cgroup, 0o755); err != nil {
		return nil, fmt.Errorf("cgroup of %s: %w", h.name, err)
	}
	var err error
	if h.place, err = os.Open(h.cgroup); err != nil {
		return nil, err
	}
	h.init.SysProcAttr.UseCgroupFD, h.init.SysProcAttr.CgroupFD = true, int(h.place.Fd())
	if err := w.boot(h); err != nil {
		h.close()
		return nil, fmt.Errorf("host %s: %w", h.name, err)
	}
	if h.in, err = newThread(h.init.Process.Pid, namespaces...); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// boot starts the first process of a host and waits until it has made itself at
// home.
func (w *network) boot(h *host) error {
	h.init.Stderr = os.Stderr
	stdin, err := h.init.StdinPipe()
	if err != nil {
		return err
	}
	h.stdin = stdin
	out, err := h.init.StdoutPipe()
	if err != nil {
		return err
	}
	w.spawner.do(func() { err = h.init.Start() })
	if err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("its first process says %q: %w", line, err)
	}
	return nil
}

// run runs a command on the host to its end.
func (h *host) run(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out []byte
	var err error
	h.in.do(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		return fmt.Errorf("on %s: %s: %w: %s", h.name, strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// plug connects a host to the switch.
func (w *network) plug(h *host, wired bool) error {
	port := fmt.Sprintf("p%d", h.i)
	if wired {
		wire, err := newWire(h, w.hub, port)
		if err != nil {
			return err
		}
		w.wires = append(w.wires, wire)
	} else if err := w.hub.run("", "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(h.init.Process.Pid)); err != nil {
		return err
	}
	for _, step := range []struct {
		on   *host
		args string
	}{
		{w.hub, "link set " + port + " master br0"}, {w.hub, "link set " + port + " up"},
		{h, "addr add " + h.ip + "/24 dev eth0"}, {h, "link set eth0 up"}, {h, "link set lo up"},
	} {
		if err := step.on.run("", "ip", strings.Fields(step.args)...); err != nil {
			return err
		}
	}
	return nil
}

var errFrozen = errors.New("the host is frozen")

// start starts a command on the host; it is in the host's cgroup, and dies with
// the host's first process. (A death signal of its own would end it at once: its
// parent is in no namespace that it can see.)
//
// On a frozen host nothing can be started: the new process would stand still
// before it is what it should become, and whoever starts it with it.
func (h *host) start(cmd *exec.Cmd) (err error) {
	h.still.Lock()
	defer h.still.Unlock()
	if h.froze {
		return fmt.Errorf("start on %s: %w", h.name, errFrozen)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(h.place.Fd())}
	h.in.do(func() { err = cmd.Start() })
	return err
}

// close ends everything on the host.
func (h *host) close() {
	_ = h.freeze(false)
	if h.in != nil {
		h.in.close()
	}
	if h.init.Process != nil {
		_ = h.stdin.Close()
		_ = h.init.Process.Kill()
		_ = h.init.Wait()
	}
	_ = h.place.Close()
	removeCgroups(h.cgroup)
}

// removeCgroups removes a cgroup and what nodes have made below it, as soon as
// the kernel has buried what was in them.
func removeCgroups(dir string) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i])
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
}

func (w *network) close() {
	for _, h := range w.hosts {
		h.close()
	}
	for _, wire := range w.wires {
		wire.close()
	}
	if w.hub != nil {
		w.hub.close()
	}
	if w.spawner != nil {
		w.spawner.close()
	}
}
