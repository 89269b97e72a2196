package faults_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

const nobody = "127.0.0.1:1" // a reserved port, which no listener of a test is given

// network is one way in which what lies between a client and the API
// misbehaves.
type network struct {
	name     string
	toxics   []toxic
	off      bool          // nobody listens
	alone    bool          // somebody listens, with nobody behind
	idle     time.Duration // after which the API closes a connection that is not used; 0 = never
	patience time.Duration // of a client, for an attempt; 0 = 30 s

	// creates are the classes that creates end in, each of them now and then;
	// nil = registered.
	creates []error
}

// calm networks are slow, and no more than that.
func (n *network) calm() bool { return len(n.creates) == 1 && n.creates[0] == nil }

// deadline is enough for a call, where a network answers in the end.
func (n *network) deadline() time.Duration {
	if n.patience > 0 {
		return 4 * n.patience
	}
	return 5 * time.Minute
}

// toxic is one of toxiproxy's, as its API takes it.
type toxic struct {
	Type       string           `json:"type"`
	Stream     string           `json:"stream"` // "upstream" or "downstream"
	Toxicity   float32          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"`
}

// networks returns every toxic in both directions. Connections are cut after
// random numbers of bytes, which are set off by the seed and reach from the
// first byte to the third request or answer of the sizes given.
func networks(seed, request, answer int64) []network {
	all := []network{
		{name: "nobody listens", off: true, creates: []error{clixnow.ErrNotSent}},
		{name: "nobody is behind", alone: true, creates: []error{clixnow.ErrOutcomeUnknown}},
	}
	for _, direction := range []string{"upstream", "downstream"} {
		size := map[string]int64{"upstream": request, "downstream": answer}[direction]
		add := func(name string, n network, kinds ...toxic) {
			n.name = name + " " + direction
			for _, kind := range kinds {
				kind.Stream = direction
				n.toxics = append(n.toxics, kind)
			}
			all = append(all, n)
		}
		registered, mixed, unknown := []error{nil}, []error{nil, clixnow.ErrOutcomeUnknown},
			[]error{clixnow.ErrOutcomeUnknown}
		cut := toxic{"cut", "", 1, map[string]int64{"seed": seed, "within": 3 * size}}

		add("latency with jitter", network{creates: registered},
			toxic{"latency", "", 1, map[string]int64{"latency": 15, "jitter": 15}})
		add("bandwidth", network{creates: registered}, toxic{"bandwidth", "", 1, map[string]int64{"rate": 100}})
		add("slices", network{creates: registered},
			toxic{
				"slicer", "", 1,
				map[string]int64{"average_size": size / 8, "size_variation": size / 16, "delay": 50},
			})
		add("closed", network{creates: mixed}, cut)
		add("reset", network{creates: mixed}, cut, resets)
		add("reset at once", network{creates: unknown}, toxic{"reset_peer", "", 1, nil})
		add("reset after a while", network{creates: unknown},
			toxic{"reset_peer", "", 1, map[string]int64{"timeout": 60}})
		add("nothing, then closed", network{creates: unknown}, toxic{"timeout", "", 1, map[string]int64{"timeout": 60}})
		add("nothing", network{creates: unknown, patience: 2 * time.Second}, toxic{"timeout", "", 1, nil})

		slow := network{creates: registered}
		// the client does not hear in time that the API has closed an idle
		// connection, and writes into the void
		if direction == "downstream" {
			slow = network{creates: mixed, idle: 5 * time.Millisecond}
		}
		add("slow close", slow, toxic{"slow_close", "", 1, map[string]int64{"delay": 300}})
	}
	return all
}

// resets makes every close of a connection a reset: toxiproxy prepares the
// connection for that, whether the toxic strikes or not.
var resets = toxic{"reset_peer", "", 0, nil}

// start runs the network in front of an API, and returns the address that it
// listens on and what ends it.
func (n *network) start(t *testing.T, api string) (address string, stop func()) {
	t.Helper()
	if n.off {
		return nobody, func() {}
	}
	if n.alone {
		api = nobody
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, n.name, "127.0.0.1:0", api)
	for _, kind := range n.toxics { // none is changed later: toxiproxy does that without regard to running connections
		description, err := json.Marshal(kind)
		require.NoError(t, err)
		_, err = proxy.Toxics.AddToxicJson(bytes.NewReader(description))
		require.NoError(t, err, "%s", description)
	}
	require.NoError(t, proxy.Start())
	return proxy.Listen, proxy.Stop
}

// cut is a toxic that ends each connection after a random number of bytes,
// where toxiproxy's limit_data has one number for all.
type cut struct {
	Seed   uint64 `json:"seed"`
	Within int64  `json:"within"`

	random *rand.Rand
}

// NewState draws the number of bytes for one connection. It is called for one
// connection at a time.
func (c *cut) NewState() any {
	if c.random == nil {
		c.random = rand.New(rand.NewPCG(c.Seed, 0))
	}
	return c.random.Int64N(c.Within) + 1
}

// Pipe passes on that many bytes.
func (c *cut) Pipe(stub *toxics.ToxicStub) {
	left := stub.State.(int64)
	for chunk := range stub.Input {
		if int64(len(chunk.Data)) >= left {
			stub.Output <- &stream.StreamChunk{Data: chunk.Data[:left], Timestamp: chunk.Timestamp}
			break
		}
		left -= int64(len(chunk.Data))
		stub.Output <- chunk
	}
	stub.Close()
	for range stub.Input { // until the other end has heard of it
		continue
	}
}
