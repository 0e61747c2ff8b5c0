package warden

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFramesBothWays(t *testing.T) {
	for _, f := range []frame{
		{Seq: 1, Life: &Life{Cluster: "c", Node: "n@h", Agent: "a", TTL: time.Second, Reach: []byte(`{"urls":["nats://x"]}`)}},
		{Seq: 2, Add: &group{App: "myapp", PGID: 77, Start: 12345, Cgroup: "/sys/fs/cgroup/x"}},
		{Seq: 3, Gone: &group{PGID: 77, Start: 12345}},
		{Seq: 4, Arm: &arm{At: time.Hour, Last: time.Hour + time.Second}},
		{Seq: 5, Arm: &arm{}},
		{Seq: 6, All: true},
		{Seq: 6, Bye: true},
		{Ack: 6},
	} {
		line, err := encode(f)
		if err != nil || !strings.HasSuffix(string(line), "\n") || strings.Count(string(line), "\n") != 1 {
			t.Fatalf("%+v: %q, %v", f, line, err)
		}
		f.V = frameVersion
		if got, err := decode(line); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: %+v, %v, want %+v", line, got, err, f)
		}
	}
}

// What is no message ends the talk: a warden must not guess what to kill.
func TestBadFrames(t *testing.T) {
	for _, line := range []string{
		"", "\x00", "[]", "{}", `{"v":1}`, `{"v":1,"seq":1}`, `{"v":2,"seq":1,"bye":true}`, `{"v":1,"bye":true}`,
		`{"v":1,"seq":1,"bye":true} {}`, `{"v":1,"seq":1,"bye":true,"more":1}`, `{"v":1,"seq":1,"ack":1}`,
		`{"v":1,"seq":1,"add":{"pgid":1,"start":5}}`, `{"v":1,"seq":1,"add":{"pgid":0,"start":5}}`, `{"v":1,"seq":1,"add":{"pgid":-7,"start":5}}`,
		`{"v":1,"seq":1,"gone":{"pgid":1,"start":5}}`, `{"v":1,"seq":1,"arm":{"at":-1,"last":0}}`,
		`{"v":1,"seq":1,"life":{"cluster":"c","node":"","agent":"a","ttl":1,"reach":{}}}`, `{"v":1,"seq":1,"add":{"pgid":9,"start":5},"bye":true}`,
	} {
		if f, err := decode([]byte(line)); !errors.Is(err, errFrame) {
			t.Errorf("%q: %+v, %v", line, f, err)
		}
	}
	if _, err := encode(frame{Seq: 1, Life: &Life{Reach: []byte(`"` + strings.Repeat("x", frameMax) + `"`)}}); !errors.Is(err, errFrame) {
		t.Errorf("a message that is too large: %v", err)
	}
}

// FuzzDecode: whatever comes is refused or reads the same again.
func FuzzDecode(f *testing.F) {
	for _, line := range []string{`{"v":1,"seq":2,"add":{"app":"a","pgid":77,"start":1}}`, `{"v":1,"ack":3}`, `{"v":1,"seq":4,"arm":{"at":5,"last":6}}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		one, err := decode(line)
		if err != nil {
			return
		}
		text, err := encode(one)
		if err != nil {
			return // too large only
		}
		if again, err := decode(text); err != nil || again.Seq != one.Seq || again.Ack != one.Ack {
			t.Errorf("%s: %+v, %v, want %+v", text, again, err, one)
		}
	})
}
