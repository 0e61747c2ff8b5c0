package wire

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// certificate is machine.Certified as JSON.
type certificate struct {
	V        int    `json:"v"`
	Node     string `json:"node"`
	Session  string `json:"session"`
	Agent    string `json:"agent"`
	Revision uint64 `json:"revision"`
}

const certMax = 1 << 10 // bytes

// ErrCertificate is wrapped by every error about a certificate.
var ErrCertificate = errors.New("malformed certificate")

// EncodeCertificate is the inverse of DecodeCertificate.
func EncodeCertificate(c machine.Certified) ([]byte, error) {
	data, err := json.Marshal(certificate{Version, string(c.Node), string(c.Session), string(c.Agent), uint64(c.Rev)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return data, nil
}

// DecodeCertificate reads a certificate about the node that its subject names.
// Anybody with the cluster's credentials can send one: it is a reason to look,
// and nothing else.
func DecodeCertificate(about node.Name, data []byte) (machine.Certified, error) {
	if len(data) > certMax {
		return machine.Certified{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCertificate, len(data), certMax)
	}
	var c certificate
	if err := json.Unmarshal(data, &c); err != nil {
		return machine.Certified{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	switch {
	case c.V < 1 || c.V > Version:
		return machine.Certified{}, fmt.Errorf("%w: version %d, this one reads %d", ErrCertificate, c.V, Version)
	case c.Node != string(about):
		return machine.Certified{}, fmt.Errorf("%w: %q on the subject of %q", ErrCertificate, c.Node, about)
	case c.Session == "" || c.Agent == "" || len(c.Session) > idMax || len(c.Agent) > idMax || c.Revision == 0:
		return machine.Certified{}, fmt.Errorf("%w: session, agent or revision is missing or too long", ErrCertificate)
	}
	return machine.Certified{
		Node: about, Session: policy.Session(c.Session), Agent: policy.Nonce(c.Agent), Rev: policy.Revision(c.Revision),
	}, nil
}
