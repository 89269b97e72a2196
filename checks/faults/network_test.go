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

// unused is a reserved port, on which no test listens.
const unused = "127.0.0.1:1"

// network is one kind of faulty network between a client and the API.
type network struct {
	name   string
	toxics []toxic
	// off means that the proxy does not listen.
	off bool
	// alone means that the proxy listens, but the API does not.
	alone bool
	// idle is the time after which the API closes an unused connection. 0 means
	// never.
	idle time.Duration
	// patience is the timeout of an attempt. 0 means 30 s.
	patience time.Duration

	// creates are the classes in which creates end. Each of them must occur.
	// nil means registered.
	creates []error
}

// calm networks are slow, but have no other fault.
func (n *network) calm() bool { return len(n.creates) == 1 && n.creates[0] == nil }

// deadline is long enough for a call if the network answers at all.
func (n *network) deadline() time.Duration {
	if n.patience > 0 {
		return 4 * n.patience
	}
	return 5 * time.Minute
}

// toxic is a toxic in the form of toxiproxy's API.
type toxic struct {
	Type       string           `json:"type"`
	Stream     string           `json:"stream"` // "upstream" or "downstream"
	Toxicity   float32          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"`
}

// networks returns every toxic in both directions. Connections are cut after a
// random number of bytes, which depends on the seed. It lies between the first
// byte and the third request or response.
func networks(seed, request, answer int64) []network {
	all := []network{
		{name: "proxy does not listen", off: true, creates: []error{clixnow.ErrNotSent}},
		{name: "API does not listen", alone: true, creates: []error{clixnow.ErrOutcomeUnknown}},
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
		// The client learns too late that the API has closed an idle
		// connection, and writes to it.
		if direction == "downstream" {
			slow = network{creates: mixed, idle: 5 * time.Millisecond}
		}
		add("slow close", slow, toxic{"slow_close", "", 1, map[string]int64{"delay": 300}})
	}
	return all
}

// resets turns every close of a connection into a reset. toxiproxy prepares the
// connection for this even if the toxic does not strike.
var resets = toxic{"reset_peer", "", 0, nil}

// start runs the network in front of an API. It returns the address of the
// network, and a function that stops it.
func (n *network) start(t *testing.T, api string) (address string, stop func()) {
	t.Helper()
	if n.off {
		return unused, func() {}
	}
	if n.alone {
		api = unused
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, n.name, "127.0.0.1:0", api)
	// No toxic is changed later, because toxiproxy does that without regard to
	// running connections.
	for _, kind := range n.toxics {
		description, err := json.Marshal(kind)
		require.NoError(t, err)
		_, err = proxy.Toxics.AddToxicJson(bytes.NewReader(description))
		require.NoError(t, err, "%s", description)
	}
	require.NoError(t, proxy.Start())
	return proxy.Listen, proxy.Stop
}

// cut is a toxic that ends each connection after a random number of bytes.
// toxiproxy's limit_data has one number for all connections.
type cut struct {
	Seed   uint64 `json:"seed"`
	Within int64  `json:"within"`

	random *rand.Rand
}

// NewState chooses the number of bytes for one connection. It is not called
// concurrently.
func (c *cut) NewState() any {
	if c.random == nil {
		c.random = rand.New(rand.NewPCG(c.Seed, 0))
	}
	return c.random.Int64N(c.Within) + 1
}

// Pipe forwards this number of bytes.
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
	for range stub.Input { // until the other end has noticed
		continue
	}
}
