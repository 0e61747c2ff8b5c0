package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/wire"
	"github.com/seed7529eb29/regent/manager/machine"
)

// PublishCertificate tells everybody that a node's death stands in its record,
// and returns when the server has taken it.
func PublishCertificate(nc *nats.Conn, cluster Cluster, c machine.Certified) error {
	data, err := wire.EncodeCertificate(c)
	if err == nil {
		err = nc.Publish(cluster.Cert(c.Node), data)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return fmt.Errorf("publish certificate: %w", err)
	}
	return nil
}

// SubscribeCertificates calls heard for every certificate, one after the other.
// What can't be read is dropped, counted and logged now and then.
func (b *Bus) SubscribeCertificates(heard func(machine.Certified)) (stop func(), err error) {
	return b.subscribe(b.cluster.Certs(), func(msg *nats.Msg) {
		s, err := b.cluster.Parse(msg.Subject)
		var c machine.Certified
		if err == nil {
			c, err = wire.DecodeCertificate(s.Node, msg.Data)
		}
		if err == nil {
			heard(c)
			return
		}
		b.badCerts.Add(1)
		if n, due := b.logged.due("certificate"); due {
			b.log.Warn("certificate dropped", "subject", msg.Subject, "cause", err, "suppressed", n)
		}
	})
}

// BadCertificates counts those that could not be read.
func (b *Bus) BadCertificates() uint64 { return b.badCerts.Load() }
