package bus

import (
	"sync"
	"time"
)

// seldom lets something through once in a while, per key.
type seldom struct {
	every time.Duration

	mu   sync.Mutex
	keys map[string]*keptBack // at most keysMax
}

type keptBack struct {
	next time.Time
	n    int
}

// keysMax bounds seldom: texts of errors come from outside.
const keysMax = 64

// due reports whether it is time again, and how many were kept back since the
// last time.
func (s *seldom) due(key string) (suppressed int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[key]
	if k == nil {
		if s.keys == nil || len(s.keys) >= keysMax {
			s.keys = map[string]*keptBack{}
		}
		k = &keptBack{}
		s.keys[key] = k
	}
	now := time.Now()
	if now.Before(k.next) {
		k.n++
		return 0, false
	}
	suppressed, k.n, k.next = k.n, 0, now.Add(s.every)
	return suppressed, true
}
