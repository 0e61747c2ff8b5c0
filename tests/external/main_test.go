//go:build linux

package external

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// The programs under test, built once.
var regentPath, serverPath string

// spawn starts processes from one OS thread that lives as long as the tests:
// the kernel's signal on the death of the parent follows the thread.
var spawn = make(chan func())

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait far more than they compute.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		runtime.LockOSThread()
		for start := range spawn {
			start()
		}
	}()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "regent-external-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	regentPath, serverPath = filepath.Join(dir, "regent"), filepath.Join(dir, "nats-server")
	for path, pkg := range map[string]string{
		regentPath: "github.com/seed7529eb29/regent/cmd/regent",
		serverPath: "github.com/nats-io/nats-server/v2",
	} {
		if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// process is one process of a test. It ends with the test at the latest.
type process struct {
	*exec.Cmd
	done chan struct{} // closed when it has ended
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawn <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9; it returns when the process has ended.
func (p *process) kill() {
	_ = p.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// terminate asks it to end and returns its exit code.
func (p *process) terminate() int {
	_ = p.Process.Signal(syscall.SIGTERM)
	<-p.done
	return p.ProcessState.ExitCode()
}
