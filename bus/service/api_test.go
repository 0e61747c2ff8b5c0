package service

import (
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"app":"x","permitted":true}`))
	f.Add([]byte(`{"app":{},"type":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range Verbs() {
			if err := v.check(data); err != nil && errorOf(err).Code != CodeBadRequest {
				t.Errorf("%s %q: %v", v.Name, data, err)
			}
		}
	})
}
