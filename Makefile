# Thin verbs; .ci/run calls the same ones.
build:
	go build -o bin/regent ./cmd/regent
