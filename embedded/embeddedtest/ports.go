package embeddedtest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken below the range from which Linux serves outgoing
// connections, so that a port that is free now is free a moment later.
const (
	portMin = 12000
	portMax = 32000
)

// FreeAddrs are n different loopback addresses that nobody listens on.
func FreeAddrs(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for range 1000 {
		if len(addrs) == n {
			return addrs
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(portMin+rand.IntN(portMax-portMin)))
		if l, err := net.Listen("tcp", addr); err == nil {
			open = append(open, l)
			addrs = append(addrs, addr)
		}
	}
	t.Fatalf("no %d free ports", n)
	return nil
}
