// Command counter is an app whose state is carried over by messages: when a
// better node takes it over, both instances are there for a moment, and the new
// one asks the old one how far it has counted.
//
// README.md says what to type. The parts: main.go makes a node of the program,
// counter.go is the app.
package main
