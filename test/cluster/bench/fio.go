package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

// fioLimit is the least of the bare filesystem's speed that a volume must have.
const fioLimit = 0.98

// fioBytes is what each job works on, in a file that is there before.
const fioBytes = 256 << 20

// fioPool is the size of the pool, which is in memory: a disk's moods would hide
// what a volume costs, and a slow disk the most of it.
const fioPool = 4 << 30

// fioJob is one way to write, with as much in each round. Speed is read from what
// fio tells of it.
type fioJob struct {
	name, unit string
	args       []string
	speed      func(fioResult) float64
}

// fioResult is what of fio's JSON is used (fio(1), --output-format=json).
type fioResult struct {
	Write struct {
		Bandwidth float64 `json:"bw_bytes"` // bytes a second
		IOPS      float64 `json:"iops"`
	} `json:"write"`
	Sync struct {
		Latency struct {
			Mean float64 `json:"mean"` // ns
		} `json:"lat_ns"`
	} `json:"sync"`
}

var fioJobs = []fioJob{
	{"4k random writes", "/s", []string{"--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=8", "--io_size=32m"},
		func(r fioResult) float64 { return r.Write.IOPS }},
	{"1M sequential writes", "MiB/s", []string{"--rw=write", "--bs=1M", "--direct=1", "--ioengine=libaio", "--iodepth=4", "--io_size=512m"},
		func(r fioResult) float64 { return r.Write.Bandwidth / (1 << 20) }},
	{"fsyncs, after 4k each", "/s", []string{"--rw=randwrite", "--bs=4k", "--fsync=1", "--ioengine=psync", "--io_size=6m"},
		func(r fioResult) float64 { return 1e9 / r.Sync.Latency.Mean }},
}

// fio measures writes in a volume, where a pod has it, against the same in a
// directory of the pool's filesystem beside it, and in a second such directory,
// which shows what the machine can tell apart. The three take turns, each first
// in every third round.
func (b *bench) fio(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.carveFrom(ctx, hand.Request{Op: hand.Pool, Bytes: fioPool, InMemory: true}, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(ctx, err, c) }()
	if err := c.createClaims(ctx, claimOf("fio", CarvedNow, 4*fioBytes)); err != nil {
		return nil, err
	}
	if err := c.createPod(ctx, podOf("fio", "fio")); err != nil {
		return nil, err
	}
	_, err = c.pods.until(ctx, "a pod to run", func(all map[string]*corev1.Pod) bool { return count(all, isRunning) == 1 })
	if err != nil {
		return nil, c.why(ctx, "fio", err)
	}
	c.pods.mu.Lock()
	uid := c.pods.objects["fio"].UID
	c.pods.mu.Unlock()
	pv, err := b.boundTo(ctx, "fio")
	if err != nil {
		return nil, err
	}
	volume := path.Join("/var/lib/kubelet/pods", string(uid), "volumes/kubernetes.io~csi", pv, "mount")
	bare, again := path.Join(b.hand.PoolDir(), "bench-bare"), path.Join(b.hand.PoolDir(), "bench-again")
	if _, err := b.hand.Do(hand.Request{Op: hand.Command, Args: []string{"mkdir", bare, again}}); err != nil {
		return nil, err
	}
	for _, job := range fioJobs {
		both, err := b.fioJob(ctx, job, condition, volume, bare, again)
		if err != nil {
			return figures, err
		}
		figures = append(figures, both...)
	}
	return figures, nil
}

// fioJob returns what a job does in the volume, and what it does again in a bare
// directory, each against the bare one.
func (b *bench) fioJob(ctx context.Context, job fioJob, condition, volume, bare, again string) ([]Figure, error) {
	speeds := map[string][]float64{}
	dirs := []string{volume, bare, again}
	for round := range b.fioRounds + 1 { // the first lays the files out
		for i := range dirs {
			dir := dirs[(round+i)%len(dirs)]
			speed, err := b.fioRound(ctx, job, dir)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				speeds[dir] = append(speeds[dir], speed)
			}
		}
	}
	f := atLeast("fio in a volume: "+job.name, condition, job.unit, speeds[volume], speeds[bare], fioLimit)
	f.OnRatio, f.Paired = true, true
	twice := shown("two bare directories, likewise", condition, job.unit, speeds[again], speeds[bare])
	twice.Paired = true
	low, high := f.Quartiles()
	b.say("%s: %.0f %s, in the pool's filesystem %.0f: %.3f, half of the %d rounds within %.3f and %.3f; two bare directories %.3f",
		f.Name, f.Berth, f.Unit, *f.Bare, f.Ratio(), len(f.BerthRounds), low, high, twice.Ratio())
	return []Figure{f, twice}, nil
}

// fioRound runs fio once in a directory.
func (b *bench) fioRound(ctx context.Context, job fioJob, dir string) (speed float64, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	args := append([]string{"fio", "--name=bench", "--output-format=json", "--directory=" + dir, "--filename=file", "--size=" + strconv.Itoa(fioBytes),
		"--thread", "--randrepeat=1", "--overwrite=1"}, job.args...)
	a, err := b.hand.Do(hand.Request{Op: hand.Command, Args: args})
	if err != nil {
		return 0, err
	}
	var all struct {
		Jobs []fioResult `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(a.Output), &all); err != nil {
		return 0, fmt.Errorf("reading what fio says: %w: %s", err, a.Output)
	}
	if len(all.Jobs) != 1 {
		return 0, fmt.Errorf("reading what fio says: it tells of %d jobs: %s", len(all.Jobs), a.Output)
	}
	return job.speed(all.Jobs[0]), nil
}
