//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wire carries the frames between a host and its port of the switch, each
// delayed. Kernels without netem can't do that.
type wire struct {
	ends   [2]*os.File
	delay  atomic.Int64 // of each direction
	jitter atomic.Int64 // at most this much more; the order stays
}

func newWire(h, hub *host, port string) (*wire, error) {
	w := &wire{}
	for i, end := range []struct {
		on   *host
		name string
	}{{h, "eth0"}, {hub, port}} {
		var err error
		end.on.in.do(func() { w.ends[i], err = openTap(end.name) })
		if err != nil {
			w.close()
			return nil, fmt.Errorf("wire of %s: %w", h.name, err)
		}
	}
	go w.carry(w.ends[0], w.ends[1])
	go w.carry(w.ends[1], w.ends[0])
	return w, nil
}

// openTap makes a network device whose frames a file reads and writes.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(req))); errno != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the device %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), name), nil
}

type frame struct {
	at   time.Time
	data []byte
}

// wireLength is how many frames are under way at most; more are lost.
const wireLength = 4096

func (w *wire) carry(from, to *os.File) {
	under := make(chan frame, wireLength)
	go func() {
		for f := range under {
			time.Sleep(time.Until(f.at))
			_, _ = to.Write(f.data) // a frame may be lost
		}
	}()
	defer close(under)
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		late := w.delay.Load()
		if j := w.jitter.Load(); j > 0 {
			late += rand.Int64N(j)
		}
		select {
		case under <- frame{time.Now().Add(time.Duration(late)), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}

func (w *wire) close() {
	for _, f := range w.ends {
		if f != nil {
			_ = f.Close()
		}
	}
}
