package agent

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// The established static provisioner's names, so that dashboards and alerts
// made for it go on. The mode is what the entry itself is, not its class's.
const (
	establishedPrefix = "local_volume_provisioner_"
	modeBlock         = "Block"
	modeFilesystem    = "Filesystem"
	modeUnknown       = "unknown" // as there, where the disk cannot be looked at
	typeProcess       = "process" // erased by the agent
	typeJob           = "job"     // erased by a Kubernetes Job
)

// established are the metrics under those names that are about volumes. Those
// about API requests are in apiMetrics.
type established struct {
	discoveries   *prometheus.CounterVec
	discoveryTime *prometheus.HistogramVec
	deletions     *prometheus.CounterVec
	deleteFailed  *prometheus.CounterVec
	deleteTime    *prometheus.HistogramVec

	mu        sync.Mutex // guards the rest
	cleanings map[volume.ID]cleaning
}

// cleaning is a volume's erasing, from its begin to the end of the old PV. It
// is lost when the agent stops, and its duration is then not told.
type cleaning struct {
	stage                         stage
	began                         time.Time
	mode, kind, capacity, command string
}

type stage int

const (
	stillCleaning stage = iota
	cleaned
	cleaningFailed
)

func newEstablished() *established {
	e := &established{
		cleanings: map[volume.ID]cleaning{},
		discoveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: establishedPrefix + "persistentvolume_discovery_total",
			Help: "PersistentVolumes created, by mode."}, []string{"mode"}),
		discoveryTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: establishedPrefix + "persistentvolume_discovery_duration_seconds",
			Help: "Time to look at a disk and create its PersistentVolume.", Buckets: establishedBuckets(60)}, []string{"mode"}),
		deletions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: establishedPrefix + "persistentvolume_delete_total",
			Help: "Released PersistentVolumes that were cleaned and deleted."}, []string{"mode", "type"}),
		deleteFailed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: establishedPrefix + "persistentvolume_delete_failed_total",
			Help: "Cleanings of released PersistentVolumes that failed; each is tried again."}, []string{"mode", "type"}),
		deleteTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: establishedPrefix + "persistentvolume_delete_duration_seconds",
			Help:    "Time from the begin of the cleaning that succeeded to the end of the PersistentVolume.",
			Buckets: establishedBuckets(30, 60, 300, 900, 1800, 3600, 2*3600, 4*3600, 8*3600, 24*3600)}, []string{"mode", "type", "capacity", "cleanup_command"}),
	}
	// From the start, so that the first increase is one.
	for _, mode := range []string{modeBlock, modeFilesystem} {
		e.discoveries.WithLabelValues(mode)
		e.discoveryTime.WithLabelValues(mode)
		e.deletions.WithLabelValues(mode, typeProcess)
		e.deleteFailed.WithLabelValues(mode, typeProcess)
	}
	e.deletions.WithLabelValues(modeBlock, typeJob)
	e.deleteFailed.WithLabelValues(modeBlock, typeJob)
	return e
}

// establishedBuckets are the bounds that the established provisioner has, so
// that queries by bound go on, and some beyond its last, 10 seconds.
func establishedBuckets(beyond ...float64) []float64 {
	return append(append([]float64(nil), prometheus.DefBuckets...), beyond...)
}

func (e *established) register(r prometheus.Registerer) {
	r.MustRegister(e.discoveries, e.discoveryTime, e.deletions, e.deleteFailed, e.deleteTime, proctable{e})
}

func (e *established) discovered(sl slot, took time.Duration) {
	mode := modeOf(sl)
	e.discoveries.WithLabelValues(mode).Inc()
	e.discoveryTime.WithLabelValues(mode).Observe((sl.took + took).Seconds())
}

// begins notes that a volume is being erased.
func (e *established) begins(id volume.ID, s *situation) {
	c := cleaning{began: time.Now(), mode: modeOf(s.slot), command: commandOf(s.slot)}
	c.kind = kindOf(c.mode, s.slot.class)
	switch {
	case s.in.PV != nil:
		c.capacity = capacityStep(s.in.PV.CapacityBytes)
	case s.in.Disk != nil:
		c.capacity = capacityStep(s.in.Disk.CapacityBytes)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleanings[id] = c
}

// ends notes how the erasing has ended.
func (e *established) ends(id volume.ID, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.cleanings[id]
	c.stage = cleaned
	if err != nil {
		c.stage = cleaningFailed
		e.deleteFailed.WithLabelValues(c.mode, c.kind).Inc()
	}
	e.cleanings[id] = c
}

// moved takes in a volume's new state. sl is the place it has, or had.
func (e *established) moved(id volume.ID, from, to volume.State, sl slot) {
	gone := from == volume.Wiped && (to == volume.Clean || to == volume.Published)
	e.mu.Lock()
	defer e.mu.Unlock()
	c, known := e.cleanings[id]
	if to != volume.Wiping && to != volume.Wiped {
		delete(e.cleanings, id)
	}
	if !gone {
		return
	}
	if !known { // by an earlier run of the agent, or kept as its class says
		c.mode = modeOf(sl)
		c.kind = kindOf(c.mode, sl.class)
	}
	e.deletions.WithLabelValues(c.mode, c.kind).Inc()
	if known {
		e.deleteTime.WithLabelValues(c.mode, c.kind, c.capacity, c.command).Observe(time.Since(c.began).Seconds())
	}
}

// proctable exports the cleanings by how far they are.
type proctable struct{ *established }

var proctableDescs = map[stage]*prometheus.Desc{
	stillCleaning:  prometheus.NewDesc(establishedPrefix+"proctable_running", "Volumes that are being cleaned.", nil, nil),
	cleaned:        prometheus.NewDesc(establishedPrefix+"proctable_succeeded", "Volumes that are cleaned and wait for the end of their PersistentVolume.", nil, nil),
	cleaningFailed: prometheus.NewDesc(establishedPrefix+"proctable_failed", "Volumes whose cleaning has failed and waits to be tried again.", nil, nil),
}

// Describe is part of prometheus.Collector.
func (p proctable) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range proctableDescs {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (p proctable) Collect(ch chan<- prometheus.Metric) {
	counts := map[stage]int{}
	p.mu.Lock()
	for _, c := range p.cleanings {
		counts[c.stage]++
	}
	p.mu.Unlock()
	for s, d := range proctableDescs {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(counts[s]))
	}
}

func modeOf(sl slot) string {
	switch {
	case sl.disk == nil:
		return modeUnknown
	case sl.disk.Device:
		return modeBlock
	}
	return modeFilesystem
}

func kindOf(mode string, c config.Class) string {
	if mode == modeBlock && c.Wipe.Job {
		return typeJob
	}
	return typeProcess
}

// commandOf names what erases a volume: the class's own command, or the
// established provisioner's script that does the same.
func commandOf(sl slot) string {
	switch w := sl.class.Wipe; {
	case modeOf(sl) != modeBlock:
		return "/scripts/fsclean.sh"
	case len(w.Command) > 0:
		return w.Command[0]
	case w.Method == config.WipeSignatures:
		return "/scripts/quick_reset.sh"
	case w.Method == config.WipeShred:
		return "/scripts/shred.sh"
	case w.Method == config.WipeZero:
		return "/scripts/dd_zero.sh"
	}
	return "/scripts/blkdiscard.sh"
}

// capacityStep is a capacity rounded up to 500 GiB, as the established
// provisioner spells it: 0G, 500G, 1000G.
func capacityStep(bytes int64) string {
	const step = 500 << 30
	return fmt.Sprintf("%dG", (bytes+step-1)/step*500)
}
