package bench

import (
	"context"
	"fmt"
	"time"
)

// Limits of what a carved volume adds to a pod's start.
const (
	podP50 = 300.0  // ms
	podP99 = 1000.0 // ms
)

// stages are the moments of one pod's start, in the order of podStages; those
// of the claim are missing of a pod without one.
type stages map[string]time.Time

const (
	stageLabel    = "the claim has its node"    // the label, which the agent waits for
	stageVolume   = "the PV is there"           // made by the agent
	stageBound    = "the claim is bound"        // by the controller manager
	stageAssigned = "the pod has its node"      // by the scheduler
	stageProcess  = "the pod's process runs"    // by the clock of its first line of log
	stageRunning  = "the pod is Running in API" // the figure that has the limit
)

// podStages are those that are shown.
var podStages = []string{stageLabel, stageVolume, stageBound, stageAssigned, stageProcess}

// startPods measures a claim and a pod with it against the same pod with an
// emptyDir. With WaitForFirstConsumer the scheduler, having chosen a node, looks a
// second later for the first time whether the volume is bound (k8s.io/kubernetes
// v1.37.2, pkg/scheduler/framework/plugins/volumebinding/binder.go,
// BindPodVolumes). So there is a floor, which the same pod shows whose PV is made
// the moment that the node is chosen and needs nothing made. The kinds take turns,
// so that all meet the same machine.
func (b *bench) startPods(ctx context.Context, condition string) (figures []Figure, err error) {
	c, err := b.startCarving(ctx, b.member())
	if err != nil {
		return nil, err
	}
	defer func() { err = joinEnd(ctx, err, c) }()
	took := map[string]timings{}
	for i := range b.pairs + 1 { // the first one warms up
		for _, class := range []string{"", BareLater, CarvedLater, CarvedNow} {
			s, begun, err := c.startPod(ctx, fmt.Sprintf("pod-%d", i), class)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				took[class] = took[class].with(s, begun)
			}
		}
		if i > 0 && (i%10 == 0 || i == b.pairs) {
			b.say("pods: %d of %d of each kind; Running after p50 %.0f ms with an emptyDir, %.0f ms with a PV made at once, %.0f ms carved, %.0f ms carved with binding mode Immediate", i, b.pairs,
				took[""].at(stageRunning, 50), took[BareLater].at(stageRunning, 50), took[CarvedLater].at(stageRunning, 50), took[CarvedNow].at(stageRunning, 50))
		}
	}
	empty, floor, later, now := took[""], took[BareLater], took[CarvedLater], took[CarvedNow]
	figures = append(figures, against(condition, "claim + pod → Running, beside emptyDir", later, empty)...)
	figures = append(figures, against(condition, "  the same, beside a PV made at once", later, floor)...)
	figures = append(figures, stagesOf(condition, later, floor)...)
	figures = append(figures, against(condition, "  with binding mode Immediate", now, empty)...)
	return append(figures, stagesOf(condition, now, empty)...), nil
}

// timings are how long pods took to each stage, in ms.
type timings map[string][]float64

func (t timings) with(s stages, begun time.Time) timings {
	if t == nil {
		t = timings{}
	}
	for stage, at := range s {
		t[stage] = append(t[stage], milliseconds(at.Sub(begun)))
	}
	return t
}

func (t timings) at(stage string, percent float64) float64 { return percentile(t[stage], percent) }

// against are the two figures that have limits.
func against(condition, name string, berth, bare timings) (figures []Figure) {
	for _, p := range []struct{ percent, limit float64 }{{50, podP50}, {99, podP99}} {
		f := added(fmt.Sprintf("%s, p%.0f", name, p.percent), condition, "ms", []float64{berth.at(stageRunning, p.percent)}, []float64{bare.at(stageRunning, p.percent)}, p.limit)
		f.BerthRounds, f.BareRounds = berth[stageRunning], bare[stageRunning]
		figures = append(figures, f)
	}
	return figures
}

// stagesOf tell where the time goes.
func stagesOf(condition string, berth, bare timings) (figures []Figure) {
	for _, stage := range podStages {
		if len(berth[stage]) == 0 {
			continue
		}
		var beside []float64
		if len(bare[stage]) > 0 {
			beside = []float64{bare.at(stage, 50)}
		}
		f := shown("  p50 until "+stage, condition, "ms", []float64{berth.at(stage, 50)}, beside)
		f.BerthRounds, f.BareRounds = berth[stage], bare[stage]
		figures = append(figures, f)
	}
	return figures
}
