package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed7529eb29/regent/manager/machine"
)

func TestCertificateBothWays(t *testing.T) {
	want := machine.Certified{Node: "node1@lxw", Session: "s", Agent: "a", Rev: 7}
	data, err := EncodeCertificate(want)
	if err != nil {
		t.Fatal(err)
	}
	if text := `{"v":1,"node":"node1@lxw","session":"s","agent":"a","revision":7}`; string(data) != text {
		t.Errorf("%s, want %s", data, text)
	}
	if got, err := DecodeCertificate("node1@lxw", data); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBadCertificates(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "not JSON": "\x00", "list": "[]", "cut": `{"v":1,"node":"n@h"`, "two": `{"v":1,"node":"n@h","session":"s","agent":"a","revision":7} {}`,
		"newer": `{"v":2,"node":"n@h","session":"s","agent":"a","revision":7}`, "other node": `{"v":1,"node":"o@h","session":"s","agent":"a","revision":7}`,
		"no session": `{"v":1,"node":"n@h","agent":"a","revision":7}`, "no agent": `{"v":1,"node":"n@h","session":"s","revision":7}`,
		"no revision": `{"v":1,"node":"n@h","session":"s","agent":"a"}`, "negative": `{"v":1,"node":"n@h","session":"s","agent":"a","revision":-1}`,
		"long": `{"v":1,"node":"n@h","session":"` + strings.Repeat("s", 65) + `","agent":"a","revision":7}`, "huge": strings.Repeat(" ", certMax+1),
	} {
		if got, err := DecodeCertificate("n@h", []byte(text)); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzDecodeCertificate: whatever comes is refused or reads the same again.
func FuzzDecodeCertificate(f *testing.F) {
	f.Add([]byte(`{"v":1,"node":"n@h","session":"s","agent":"a","revision":7}`))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCertificate("n@h", data)
		if err != nil {
			return
		}
		again, err := EncodeCertificate(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeCertificate("n@h", again); err != nil || got != c {
			t.Errorf("%+v, %v, want %+v", got, err, c)
		}
	})
}
