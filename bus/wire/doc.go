// Package wire is the form of a heartbeat on the wire: a JSON object that a
// person can read with "nats sub 'regent.default.hb.*'".
//
//	{"v":1,"node":"node1@lxw","agent":"5f0c…","session":"9d2e…","n":17,"phase":"up","full":true,
//	 "digest":"…","version":"1.0.0","since":"2026-01-02T15:04:05.000Z",
//	 "apps":[{"app":"myapp","started":true,"type":"permanent","epoch":12}],"bucket":"…","vouches":true}
//
// Fields that would be false, zero or empty are left out. Fields are only ever
// added: a reader ignores those it doesn't know. What can't be understood
// without knowing more gets a higher v, and an older reader says so
// ([ErrNewer]) instead of guessing.
//
// The sender of a message is not trusted. Decode accepts only what an honest
// node could have meant: a node name that is the subject's, identifiers that
// are short and printable, known phases and types, well-formed app names, each
// at most once, and nothing above a fixed size. It never panics.
package wire
