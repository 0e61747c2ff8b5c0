package embedded

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/seed7529eb29/regent/bus/cred"
)

// Answer is what somebody who was probed thinks of us.
type Answer int

// The answers of a probe.
const (
	NotAnswering Answer = iota // nobody listens, or says nothing
	Accepts                    // the voter we expected, with our cookie
	OtherCookie                // a server of another cookie, or of another cluster
	WrongName                  // our cookie, but another voter
	NotAVoter                  // something that is no route listener
)

var answerText = [...]string{
	NotAnswering: "not answering",
	Accepts:      "accepts",
	OtherCookie:  "refused: other cookie",
	WrongName:    "another server listens there",
	NotAVoter:    "not a cluster port",
}

func (a Answer) String() string { return answerText[a] }

// Probe is the result of ProbePeer.
type Probe struct {
	Answer   Answer
	Name     string        // server name, when the cookie is ours
	Identity cred.Identity // of the cluster's data, when the cookie is ours
	Err      error         // why, unless Accepts
}

// probeMax bounds a probe whose context has no deadline.
const probeMax = 2 * time.Second

// infoMax is more than any INFO line has.
const infoMax = 64 << 10

// ProbePeer asks the route listener at addr who it is. Routes begin with the
// TLS handshake, and the first line after it is the server's INFO; both sides
// have verified the other's certificate by then. The other side sees a route
// that goes away again.
func ProbePeer(ctx context.Context, a *cred.Authority, addr, want string) Probe {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	leaf, err := a.NewLeaf("probe")
	if err != nil {
		return Probe{Err: err}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return Probe{Err: err}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	return ask(ctx, tls.Client(conn, a.TLSConfig(leaf)), want)
}

func ask(ctx context.Context, conn *tls.Conn, want string) Probe {
	if err := conn.HandshakeContext(ctx); err != nil {
		return refusal(err)
	}
	name, err := readName(conn)
	if err != nil {
		return refusal(err)
	}
	p := Probe{Answer: Accepts, Name: name}
	p.Identity, _ = cred.IdentityOf(conn.ConnectionState().PeerCertificates[0])
	if name != want {
		p.Answer = WrongName
		p.Err = fmt.Errorf("expected %s, found %s", want, name)
	}
	return p
}

// errNoInfo: only holders of the cookie get here, but not every one is a voter.
var errNoInfo = errors.New("no INFO")

func readName(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, infoMax)).ReadString('\n')
	if err != nil {
		return "", err
	}
	var info struct {
		Name string `json:"server_name"`
	}
	body, ok := strings.CutPrefix(line, "INFO ")
	if !ok || json.Unmarshal([]byte(body), &info) != nil || info.Name == "" {
		return "", errNoInfo
	}
	return info.Name, nil
}

// refusal classifies an error of the handshake or of the first read, where a
// server's opinion of our certificate arrives.
func refusal(err error) Probe {
	p := Probe{Answer: NotAnswering, Err: err}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		p.Answer = OtherCookie
	} else if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		p.Answer = OtherCookie
	} else if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		p.Answer = OtherCookie // a TLS alert
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, errNoInfo) {
		p.Answer = NotAVoter
	}
	return p
}
