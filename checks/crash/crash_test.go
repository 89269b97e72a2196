package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

// These environment variables turn this test binary into the consumer.
const (
	serverEnv = "CLIXNOW_SOAK_SERVER"
	folderEnv = "CLIXNOW_SOAK_FOLDER"

	jobsFile, journalFile = "jobs", "journal"
)

const testToken = "CfDJ8-s3cr3t-t0ken"

func TestMain(m *testing.M) {
	if server := os.Getenv(serverEnv); server != "" {
		if err := beConsumer(server, os.Getenv(folderEnv)); err != nil {
			log.Fatal(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func beConsumer(server, folder string) error {
	client, err := clixnow.NewClient("acme", testToken, clixnow.WithBaseURL(server),
		clixnow.WithRetry(clixnow.RetryPolicy{MinBackoff: 5 * time.Millisecond, MaxBackoff: 200 * time.Millisecond}),
		clixnow.WithLooks(10*time.Millisecond, 40*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond))
	if err != nil {
		return err
	}
	return consume(context.Background(), client, filepath.Join(folder, jobsFile), filepath.Join(folder, journalFile))
}

// TestKilledConsumer kills a consumer at random moments and starts it again,
// until all jobs are done. Then the server has each lead once, and each job is
// settled with its lead. CLIXNOW_KILLS=300 kills it 300 times for each of three
// seeds. CLIXNOW_SEED=7 runs one seed.
func TestKilledConsumer(t *testing.T) {
	t.Parallel()
	worlds := map[string]func(*rand.Rand) clixnowtest.Option{
		"search that lags": func(random *rand.Rand) clixnowtest.Option {
			return clixnowtest.WithSearchDelay(func(clixnow.Lead) time.Duration {
				return time.Duration(random.Int64N(int64(600 * time.Millisecond))) // the four looks take 350 ms
			})
		},
		"server that notices no duplicates": func(*rand.Rand) clixnowtest.Option {
			return clixnowtest.WithoutDuplicateCheck()
		},
	}
	kills, seeds := size(t)
	for name, world := range worlds {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				killConsumer(t, seed, kills, world)
			})
		}
	}
}

func size(t *testing.T) (kills int, seeds []uint64) {
	t.Helper()
	kills, seeds = 20, []uint64{1}
	if testing.Short() {
		kills = 10
	}
	if text := os.Getenv("CLIXNOW_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		kills, seeds = n, []uint64{1, 2, 3}
	}
	if text := os.Getenv("CLIXNOW_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		seeds = []uint64{seed}
	}
	return kills, seeds
}

func killConsumer(t *testing.T, seed uint64, kills int, world func(*rand.Rand) clixnowtest.Option) {
	t.Helper()
	// random decides about the kills. The faults differ in each run.
	random := rand.New(rand.NewPCG(seed, 1))
	api := clixnowtest.NewHandler(clixnowtest.WithToken(testToken), world(rand.New(rand.NewPCG(seed, 2))))
	var arrived atomic.Int64
	// travel is the time on the network, in which the consumer may die.
	travel := func() { time.Sleep(time.Duration(rand.Int64N(int64(30 * time.Millisecond)))) }
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		travel()
		if rand.IntN(4) == 0 {
			api.Inject(randomFault())
		}
		api.ServeHTTP(w, r)
		travel()
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()

	folder := t.TempDir()
	jobs := writeJobs(t, folder, 10*kills)
	start := func() *exec.Cmd {
		self, err := os.Executable()
		require.NoError(t, err)
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), serverEnv+"="+server.URL, folderEnv+"="+folder)
		child.Stderr = os.Stderr
		require.NoError(t, child.Start())
		return child
	}
	killed := 0
	for killed < kills {
		before := arrived.Load()
		child := start()
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		for arrived.Load() == before && len(ended) == 0 {
			time.Sleep(time.Millisecond)
		}
		life := time.Duration(random.Int64N(int64(60 * time.Millisecond)))
		if random.IntN(4) == 0 { // long enough for four looks and a second send
			life = time.Duration(random.Int64N(int64(time.Second)))
		}
		died := false
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(life):
			_ = child.Process.Kill() // it may have ended already
			died = <-ended != nil
		}
		if !died {
			break // all jobs are done
		}
		killed++
	}
	require.NoError(t, start().Wait())

	counts := judge(t, api, jobs, filepath.Join(folder, journalFile))
	t.Logf("%d leads, %d kills, %d recoveries, %d re-sends", len(jobs), killed, counts.recoveries, counts.resends)
	assert.Positive(t, counts.recoveries)
	assert.Positive(t, counts.resends)
	assert.Greater(t, killed, kills/2)
}

func writeJobs(t *testing.T, folder string, n int) []job {
	t.Helper()
	jobs := make([]job, n)
	file, err := os.Create(filepath.Join(folder, jobsFile))
	require.NoError(t, err)
	for i := range jobs {
		jobs[i] = job{i, clixnow.CreateLeadRequest{
			FirstName: "Allison", LastName: "Brown", Email: fmt.Sprintf("lead%d@example.com", i),
			Phone:    fmt.Sprintf("+4179%07d", i),
			Password: "Password123!", CountryCode: "CH", ClickID: strconv.Itoa(i),
		}}
		require.NoError(t, json.NewEncoder(file).Encode(jobs[i]))
	}
	require.NoError(t, file.Close())
	require.NoError(t, os.WriteFile(filepath.Join(folder, journalFile), nil, 0o600))
	return jobs
}

type counts struct{ recoveries, resends int }

// judge compares the leads of the server with the journal of the consumer.
func judge(t *testing.T, api *clixnowtest.Server, jobs []job, journal string) counts {
	t.Helper()
	ids := make(map[string][]int64)
	for _, lead := range api.Leads() {
		ids[lead.Email] = append(ids[lead.Email], lead.ID)
	}
	records, err := readLines[record](journal)
	require.NoError(t, err)
	settled := make(map[int][]record)
	for _, r := range records {
		if r.settles() {
			settled[r.Number] = append(settled[r.Number], r)
		}
	}
	sent := make(map[string]int)
	for _, request := range api.Requests() {
		if request.Method == http.MethodPost && request.Status != http.StatusTooManyRequests {
			var lead clixnow.CreateLeadRequest
			require.NoError(t, json.Unmarshal(request.Body, &lead))
			sent[lead.Email]++
		}
	}
	var c counts
	for _, j := range jobs {
		there := ids[j.Lead.Email]
		require.Len(t, there, 1, "job %d: its lead is there once", j.Number)
		require.Len(t, settled[j.Number], 1, "job %d: it is settled once", j.Number)
		result := settled[j.Number][0]
		require.Empty(t, result.Refused, "job %d", j.Number)
		require.Equal(t, there[0], result.LeadID, "job %d", j.Number)
		if result.Recovered {
			c.recoveries++
		}
		c.resends += sent[j.Lead.Email] - 1
	}
	require.Len(t, api.Leads(), len(jobs))
	return c
}

// randomFault returns a random fault of a request. It never refuses a create,
// because a refusal settles the job.
func randomFault() clixnowtest.Fault {
	handled := rand.IntN(2) == 0
	switch rand.IntN(5) {
	case 0:
		return clixnowtest.Fault{Status: 429}
	case 1:
		return clixnowtest.Fault{HandleFirst: handled, Delay: time.Duration(rand.Int64N(int64(100 * time.Millisecond)))}
	case 2:
		return clixnowtest.Fault{HandleFirst: handled, Status: []int{200, 303, 500, 502, 503, 504, 520}[rand.IntN(7)]}
	default:
		return clixnowtest.Fault{Drop: clixnowtest.Drop(1 + rand.IntN(3))}
	}
}
