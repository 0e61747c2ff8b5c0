package proc

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Codec turns values into bytes and back.
type Codec interface {
	// Name tells the receiver how to decode; 1 to 32 bytes.
	Name() string
	Encode(v any) ([]byte, error)
	Decode(data []byte, v any) error
}

// Payload is a value in transit: who receives it decodes it. A Payload that is
// sent travels as it is.
type Payload struct {
	Codec string
	Data  []byte

	codecs *codecs // of the system that received it
}

// Raw is sent as the bytes that it is, and decodes into *Raw or *[]byte.
type Raw []byte

// Names of the codecs that every system has.
const (
	CodecJSON = "json"
	CodecRaw  = "raw"
)

// Decode stores the value in what v points to. Errors wrap ErrPayload.
func (p Payload) Decode(v any) error {
	c := p.codecs.find(p.Codec)
	if c == nil {
		return fmt.Errorf("%w: no codec %q here", ErrPayload, p.Codec)
	}
	if err := c.Decode(p.Data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPayload, p.Codec, err)
	}
	return nil
}

// As decodes a payload into a new value.
func As[T any](p Payload) (T, error) {
	var v T
	err := p.Decode(&v)
	return v, err
}

// jsonCodec is the default.
type jsonCodec struct{}

func (jsonCodec) Name() string                    { return CodecJSON }
func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

type rawCodec struct{}

func (rawCodec) Name() string { return CodecRaw }

func (rawCodec) Encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case Raw:
		return v, nil
	case []byte:
		return v, nil
	}
	return nil, fmt.Errorf("%T is not bytes", v)
}

func (rawCodec) Decode(data []byte, v any) error {
	switch v := v.(type) {
	case *Raw:
		*v = data
	case *[]byte:
		*v = data
	case *any:
		*v = Raw(data)
	default:
		return fmt.Errorf("bytes don't fit into %T", v)
	}
	return nil
}

const codecNameMax = 32 // bytes

// codecs are those that a system knows. The zero value and nil know the two
// built-in ones.
type codecs struct {
	mu     sync.RWMutex
	byName map[string]Codec
	first  Codec // for values that don't say; nil: JSON
}

func (c *codecs) add(more ...Codec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, codec := range more {
		if n := codec.Name(); n == "" || len(n) > codecNameMax {
			return fmt.Errorf("%w: the name of codec %T has 1 to %d bytes", ErrPayload, codec, codecNameMax)
		}
		if c.byName == nil {
			c.byName = map[string]Codec{}
		}
		c.byName[codec.Name()] = codec
	}
	return nil
}

func (c *codecs) find(name string) Codec {
	switch name {
	case CodecJSON:
		return jsonCodec{}
	case CodecRaw:
		return rawCodec{}
	}
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byName[name]
}

// encode makes v a payload: what is one already, and bytes, as they are; the
// rest with the system's own codec.
func (c *codecs) encode(v any) (Payload, error) {
	var codec Codec = jsonCodec{}
	switch v := v.(type) {
	case Payload:
		if v.Codec == "" || len(v.Codec) > codecNameMax {
			return Payload{}, fmt.Errorf("%w: the name of its codec has 1 to %d bytes", ErrPayload, codecNameMax)
		}
		v.codecs = c
		return v, nil
	case Raw:
		codec = rawCodec{}
	default:
		if c.first != nil {
			codec = c.first
		}
	}
	data, err := codec.Encode(v)
	if err != nil {
		return Payload{}, fmt.Errorf("%w: %s: %w", ErrPayload, codec.Name(), err)
	}
	return Payload{codec.Name(), data, c}, nil
}
