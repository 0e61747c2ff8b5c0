package proc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seed7529eb29/regent/policy/node"
)

// version is the version of the envelope: the first byte of every frame. Of a
// hello of any version the first bytes (version, kind, connection, node) stay
// as they are, so that it can be refused with a reason.
const version = 1

// kind is what a frame is for: its second byte.
type kind byte

const (
	// About the connection itself; these have no number.
	kindHello   kind = iota + 1 // let us talk: the two lives
	kindWelcome                 // the other one agrees
	kindRefuse                  // it does not; text says why
	kindReset                   // the connection is over; text says why
	kindProbe                   // have you got everything up to number?
	kindAck                     // I have

	// Between processes; numbered.
	kindSend
	kindCall     // a send that is answered with kindReply or kindFail
	kindApply    // run a function and answer with what it returns
	kindReply    // payload
	kindFail     // fail, text
	kindForget   // nobody waits for the answer any more
	kindSpawn    // run a function; answered with kindSpawned or kindFail
	kindSpawned  // to: its serial
	kindMonitor  // tell me when the process ends
	kindUnwatch  // or don't
	kindDown     // text: the reason
	kindLink     //
	kindUnlink   //
	kindExit     // from ended, or asks to end; text: the reason
	kindGroup    // members of a group: see group.go
	kindBatch    // numbered frames of one connection, one behind the other: see outbound.go
	kindLastKind // none
)

func (k kind) numbered() bool { return k >= kindSend && k != kindBatch }

// flags of a frame.
type flags byte

const (
	flagLink    flags = 1 << iota // kindSpawn: and link with from
	flagMonitor                   // kindSpawn: and monitor under ref
	flagDirect                    // kindExit: somebody called Exit, no link broke
	flagHidden                    // kindHello, kindWelcome: the sender is a hidden node
	flagTicks                     // likewise: we must tick, since we hear no heartbeats of each other
	flagLeave                     // kindGroup: leave
	flagWhole                     // kindGroup: the whole membership of this node
	flagBatches                   // kindHello, kindWelcome: the sender reads batches
)

// frame is a message between two systems, in one form for all kinds: what a
// kind does not use is zero and costs a byte.
type frame struct {
	kind  kind
	conn  uint64 // which connection
	flags flags

	number   uint64 // of a numbered frame; of a probe: the last one sent
	ack      uint64 // the last number that has arrived in order
	ackBytes uint64 // the bytes of all numbered frames up to it

	node node.Name // hello, welcome, refuse, reset, probe: the sender
	life Life      // hello, welcome: the sender's
	want Life      // welcome: the receiver's, as the sender knows it

	ref  uint64 // of a call, a spawn, a monitor
	from uint64 // a process of the sender; 0: none
	to   uint64 // a process of the receiver; 0: the one called name
	name string // a process, a function or a group
	fail failure
	text string   // a reason
	list []uint64 // kindGroup: members

	payload Payload
}

// ErrFrame is wrapped by every error about a frame that can't be read.
var ErrFrame = errors.New("unreadable frame")

// errNewerFrame: its version is higher than ours.
var errNewerFrame = fmt.Errorf("%w: newer version", ErrFrame)

// listMax bounds the members in one frame.
const listMax = 4096

// appendFrame writes f behind b.
func appendFrame(b []byte, f *frame) []byte {
	b = append(b, version, byte(f.kind))
	b = binary.BigEndian.AppendUint64(b, f.conn)
	if !f.kind.numbered() {
		b = appendText(b, string(f.node))
		b = append(b, byte(f.flags))
		b = appendText(b, string(f.life))
		b = appendText(b, string(f.want))
		b = binary.AppendUvarint(b, f.number)
		b = binary.AppendUvarint(b, f.ack)
		b = binary.AppendUvarint(b, f.ackBytes)
		return appendText(b, f.text)
	}
	b = append(b, byte(f.flags), byte(f.fail))
	for _, n := range [...]uint64{f.number, f.ack, f.ackBytes, f.ref, f.from, f.to} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendText(b, f.name)
	b = appendText(b, f.text)
	b = binary.AppendUvarint(b, uint64(len(f.list)))
	for _, n := range f.list {
		b = binary.AppendUvarint(b, n)
	}
	b = appendText(b, f.payload.Codec)
	return append(b, f.payload.Data...)
}

// overhead is more than a frame has beside name, text and payload.
const overhead = 128

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseFrame reads what appendFrame wrote, into f. The payload is a part of b,
// not a copy. Of a frame of a newer version only kind, conn and node are read.
func parseFrame(b []byte, f *frame) error {
	*f = frame{}
	r := reader{b: b}
	v := r.byte()
	f.kind = kind(r.byte())
	f.conn = r.uint64()
	switch {
	case r.bad || v == 0 || f.kind == 0:
		return ErrFrame
	case v > version:
		if f.kind == kindHello {
			f.node, _ = node.Parse(r.text(node.MaxLen))
		}
		return errNewerFrame
	case f.kind >= kindBatch: // batches are no frames
		return fmt.Errorf("%w: unknown kind %d", ErrFrame, f.kind)
	case f.kind.numbered():
		r.numbered(f)
	default:
		r.unnumbered(f)
	}
	if r.bad {
		return ErrFrame
	}
	return f.check()
}

// check refuses what no system sends.
func (f *frame) check() error {
	if f.kind.numbered() {
		if f.number == 0 {
			return fmt.Errorf("%w: no number", ErrFrame)
		}
		return nil
	}
	if _, err := node.Parse(string(f.node)); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if f.kind == kindHello || f.kind == kindWelcome {
		if _, err := ParseLife(string(f.life)); err != nil {
			return fmt.Errorf("%w: %w", ErrFrame, err)
		}
	}
	return nil
}

func (r *reader) unnumbered(f *frame) {
	f.node = node.Name(r.text(node.MaxLen))
	f.flags = flags(r.byte())
	f.life = Life(r.text(lifeMax))
	f.want = Life(r.text(lifeMax))
	f.number, f.ack, f.ackBytes = r.uvarint(), r.uvarint(), r.uvarint()
	f.text = r.text(reasonMax)
	if len(r.b) > 0 {
		r.bad = true
	}
}

func (r *reader) numbered(f *frame) {
	f.flags, f.fail = flags(r.byte()), failure(r.byte())
	for _, n := range [...]*uint64{&f.number, &f.ack, &f.ackBytes, &f.ref, &f.from, &f.to} {
		*n = r.uvarint()
	}
	f.name = r.text(nameMax)
	f.text = r.text(reasonMax)
	if n := r.uvarint(); n > listMax || n > uint64(len(r.b)) {
		r.bad = true
	} else if n > 0 {
		f.list = make([]uint64, n)
		for i := range f.list {
			f.list[i] = r.uvarint()
		}
	}
	f.payload.Codec = r.codec()
	f.payload.Data = r.b
}

// reader takes a frame apart. After the first thing that is not there it is
// bad, and yields zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text(most int) string {
	n := r.uvarint()
	if n > uint64(most) {
		r.bad = true
	}
	return string(r.take(n))
}

// codec avoids a copy of the usual name.
func (r *reader) codec() string {
	n := r.uvarint()
	if n > codecNameMax {
		r.bad = true
	}
	switch b := r.take(n); string(b) {
	case CodecJSON:
		return CodecJSON
	case CodecRaw:
		return CodecRaw
	default:
		return string(b)
	}
}
