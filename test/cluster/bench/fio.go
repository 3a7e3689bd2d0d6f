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

// fioPool is the size of the pool, whose file is written to before: else the
// machine's own filesystem would have to find blocks for whoever comes first.
const fioPool = 4 << 30

// fioJob is one way to write. Speed is read from what fio tells of it.
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
			Percentile map[string]float64 `json:"percentile"` // ns
		} `json:"lat_ns"`
	} `json:"sync"`
}

var fioJobs = []fioJob{
	{"4k random writes", "/s", []string{"--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=8"}, func(r fioResult) float64 { return r.Write.IOPS }},
	{"1M sequential writes", "MiB/s", []string{"--rw=write", "--bs=1M", "--direct=1", "--ioengine=libaio", "--iodepth=4"}, func(r fioResult) float64 { return r.Write.Bandwidth / (1 << 20) }},
	{"4k writes, each with fsync: 1/p50", "/s", []string{"--rw=randwrite", "--bs=4k", "--fsync=1", "--ioengine=psync"}, func(r fioResult) float64 { return 1e9 / r.Sync.Latency.Percentile["50.000000"] }},
}

// fio measures writes in a volume, where a pod has it, against the same in a
// directory of the pool's filesystem beside it. The two take turns, each first
// in every other round.
func (b *bench) fio(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.carveFrom(ctx, hand.Request{Op: hand.Pool, Bytes: fioPool, Written: true}, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(err, c) }()
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
	bare := path.Join(b.hand.PoolDir(), "bench-bare")
	if _, err := b.hand.Do(hand.Request{Op: hand.Command, Args: []string{"mkdir", bare}}); err != nil {
		return nil, err
	}
	for _, job := range fioJobs {
		f, err := b.fioJob(ctx, job, condition, volume, bare)
		if err != nil {
			return figures, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}

func (b *bench) fioJob(ctx context.Context, job fioJob, condition, volume, bare string) (Figure, error) {
	speeds := map[string][]float64{}
	for round := range b.fioRounds + 1 { // the first lays the files out
		dirs := []string{volume, bare}
		if round%2 == 1 {
			dirs = []string{bare, volume}
		}
		for _, dir := range dirs {
			if err := ctx.Err(); err != nil {
				return Figure{}, context.Cause(ctx)
			}
			args := append([]string{"fio", "--name=bench", "--output-format=json", "--directory=" + dir, "--filename=file", "--size=" + strconv.Itoa(fioBytes),
				"--time_based", "--runtime=" + strconv.Itoa(b.fioSeconds), "--randrepeat=1", "--overwrite=1"}, job.args...)
			a, err := b.hand.Do(hand.Request{Op: hand.Command, Args: args})
			if err != nil {
				return Figure{}, err
			}
			var all struct {
				Jobs []fioResult `json:"jobs"`
			}
			if err := json.Unmarshal([]byte(a.Output), &all); err != nil || len(all.Jobs) != 1 {
				return Figure{}, fmt.Errorf("reading what fio says: %w: %s", err, a.Output)
			}
			if round > 0 {
				speeds[dir] = append(speeds[dir], job.speed(all.Jobs[0]))
			}
		}
	}
	f := atLeast("fio in a volume: "+job.name, condition, job.unit, speeds[volume], speeds[bare], fioLimit)
	f.OnRatio, f.Paired = true, true
	b.say("%s: %.0f %s, in the pool's filesystem %.0f: %.3f; rounds %.0f and %.0f", f.Name, f.Berth, f.Unit, *f.Bare, f.Ratio(), speeds[volume], speeds[bare])
	return f, nil
}
