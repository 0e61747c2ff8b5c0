package embedded

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrPortTaken is wrapped when something else listens on an address that the
// server should bind.
var ErrPortTaken = errors.New("port is taken")

// checkPorts binds the addresses once: the server itself would log the failure
// of the first and give up in silence on the second.
func (o *Options) checkPorts() error {
	addrs := []string{o.ClientListen}
	if o.clustered() {
		addrs = append(addrs, o.ClusterListen)
	}
	for _, addr := range addrs {
		if err := checkPort(addr); err != nil {
			return err
		}
	}
	return nil
}

func checkPort(addr string) error {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: %s", ErrPortTaken, addr)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l.Close()
}
