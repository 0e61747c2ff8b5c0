# Thin verbs; .ci/run calls the same ones.

.DEFAULT_GOAL := build
.PHONY: build demo demo-fast test race lint sim teeth conformance fuzz bench chaos chaos-short soak clean

# The version is that of the tag, if there is one; the commit comes from the
# build information of Go, which only has it where git is content with the
# directory.
VERSION  ?= $(shell git describe --tags --dirty 2>/dev/null)
BUILDVCS := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)

build: ## the program, bin/regent
	go build -trimpath -buildvcs=$(BUILDVCS) -ldflags "-s -w -X main.release=$(VERSION)" -o bin/regent ./cmd/regent

demo: build ## three nodes, narrated: start, kill -9, failover, return, takeover, stop
	bin/regent demo

demo-fast: build ## the same with shortened timeouts
	bin/regent demo --fast

# Several packages are whole clusters on the clock. Their tests mostly wait, so
# more of them go side by side than there are cores, and not many more.
# TESTFLAGS is for one more flag, as in: make test TESTFLAGS=-v
test: ## everything that needs nothing but Go: no root, no packages
	go test -p 2 -parallel 4 -timeout 10m $(TESTFLAGS) ./...

# What mostly watches other processes, or is one goroutine, has nothing for the
# race detector to see.
RACELESS = /tests/external$$|/tests/arch$$|/tests/sim|/tests/scenario$$|/examples/|/cmd/regent/demo$$
race: ## the same with the race detector, short and with a smaller simulation
	go test -race -short -p 2 -timeout 15m $(TESTFLAGS) $$(go list ./... | grep -vE '$(RACELESS)')

GOFILES = $(shell git ls-files --cached --others --exclude-standard '*.go' 2>/dev/null)

lint: ## formatting, vet on three systems, staticcheck, modern Go
	@out="$$(gofmt -l $(GOFILES))"; if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...
	go tool staticcheck ./...
	@out="$$(go fix -diff ./... 2>&1)"; if [ -n "$$out" ]; then echo "$$out"; exit 1; fi

# make sim DURATION=1h FROM=1000    or    make sim SEEDS=50 HOURS=2
DURATION ?= 10m
HOURS    ?= 10
SEEDS    ?= 0
FROM     ?= 1
sim: ## a soak of the simulation; a failure prints how to replay it
	go test ./tests/sim -run 'TestSim$$' -v -count=1 -timeout 0 -duration=$(DURATION) -hours=$(HOURS) -seeds=$(SEEDS) -from=$(FROM)

TOOTH ?=
teeth: ## is every broken protocol caught? minutes
	go test ./tests/sim -run 'TestTeeth$$' -v -count=1 -timeout 0 -teeth -tooth='$(TOOTH)'

SCENARIOS ?= *
conformance: ## scenarios on the machine, on real nodes and, if there is erl, on Erlang's; minutes
	cd tests/conformance && go test -run 'TestConformance$$' -timeout 30m -conformance='$(SCENARIOS)' $(TESTFLAGS)

# A number of inputs (20000x) rather than a time (30s): where the time ends
# amid an input, go's fuzzer now and then calls that a failure ("context
# deadline exceeded").
FUZZTIME ?= 100000x
fuzz: ## every fuzz target for FUZZTIME
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | sed 's|/[^/]*_test.go:func | |' | \
	while read -r dir target; do \
		echo "$$dir $$target"; \
		go test "$$dir" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x || exit 1; \
	done

# Failovers beside Erlang's, if erl is there; BENCHFLAGS=-write updates the
# tables in docs/benchmarks.md.
FAILOVERS  ?= 20
BENCHFLAGS ?=
bench: ## what a failover and a message cost, beside their parts and Erlang; then single packages
	go test ./tests/bench -v -count=1 -timeout 30m -failovers=$(FAILOVERS) $(BENCHFLAGS)
	go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /tests/)

# Root, ip and nft. CHAOSFLAGS=-write replaces the tables in docs/reliability.md;
# -row=NAME runs one row, -story tells what happened.
chaos: ## break clusters in every way that one machine can, and judge them
	go test ./tests/chaos/... -count=1
	go test ./tests/chaos -run 'TestChaos$$' -v -count=1 -timeout 90m -chaos=all $(CHAOSFLAGS)

chaos-short: ## the rows of CI
	go test ./tests/chaos -run 'TestChaos$$' -v -count=1 -timeout 15m -chaos=short $(CHAOSFLAGS)

# make soak DURATION=30m SEED=17
SEED ?= 0
soak: ## faults at random; a failure prints the seed
	go test ./tests/chaos -run 'TestSoak$$' -v -count=1 -timeout 0 -soak=$(DURATION) -seed=$(SEED)

clean:
	rm -rf bin
