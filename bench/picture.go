package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Picture is how an experiment is drawn: one panel beside the other, the ways as series, on a logarithmic scale.
type Picture struct {
	Value  string   // what is drawn
	Axis   string   // its name
	Across []string // labels whose values are the places along the horizontal axis
	// Numeric has the one label of Across be a number, and joins its points by lines.
	Numeric bool
	Panels  []Panel
}

// A Panel is the part of the measures that has the given labels, of the given value instead of the picture's.
type Panel struct {
	Title string
	Where map[string]string
	Value string
}

// PictureFormats are the endings that a picture's name may have.
var PictureFormats = []string{"svg", "png", "pdf"}

// CheckPicture judges a picture's name before anything is run.
func CheckPicture(path string) error {
	if format := strings.TrimPrefix(filepath.Ext(path), "."); !slices.Contains(PictureFormats, format) {
		return fmt.Errorf("%s: a picture's name ends in .%s", path, strings.Join(PictureFormats, ", ."))
	}
	return nil
}

// palette is told apart by the colour-blind too (Okabe and Ito).
var palette = []color.Color{
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0x60, 0x60, 0x60, 0xff}, color.RGBA{0x00, 0x00, 0x00, 0xff},
}

var glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.PlusGlyph{}, draw.CrossGlyph{}}

// Draw writes the picture of a result to a file: medians, and from minimum to maximum over the rounds.
func (e *Experiment) Draw(r *ExperimentResult, path string) error {
	if err := CheckPicture(path); err != nil {
		return err
	}
	const columns = 2
	rows := (len(e.Picture.Panels) + columns - 1) / columns
	width := min(columns, len(e.Picture.Panels))
	canvas, err := draw.NewFormattedCanvas(vg.Length(width)*13*vg.Centimeter, vg.Length(rows)*9*vg.Centimeter, filepath.Ext(path)[1:])
	if err != nil {
		return fmt.Errorf("bench: picture: %w", err)
	}
	plots := make([][]*plot.Plot, rows)
	for i := range plots {
		plots[i] = make([]*plot.Plot, width)
	}
	for i, panel := range e.Picture.Panels {
		if plots[i/columns][i%columns], err = e.panel(r, panel); err != nil {
			return fmt.Errorf("bench: picture: %w", err)
		}
	}
	tiles := draw.Tiles{Rows: rows, Cols: width, PadX: 5 * vg.Millimeter, PadY: 5 * vg.Millimeter, PadTop: 2 * vg.Millimeter, PadBottom: 2 * vg.Millimeter,
		PadLeft: 2 * vg.Millimeter, PadRight: 2 * vg.Millimeter}
	for i, line := range plot.Align(plots, tiles, draw.New(canvas)) {
		for j, c := range line {
			if plots[i][j] != nil {
				plots[i][j].Draw(c)
			}
		}
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("bench: picture: %w", err)
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// What can be drawn on a logarithmic scale.
const least, most = 1e-6, 1e15

// A series is one way's points in a panel.
type series struct {
	plotter.XYs
	plotter.YErrors
}

func (e *Experiment) panel(r *ExperimentResult, panel Panel) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = panel.Title, e.Picture.Axis
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left, p.Legend.TextStyle.Font.Size = true, e.Picture.Numeric, 8
	if e.Picture.Numeric {
		p.X.Label.Text = e.Picture.Across[0]
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, powersOfTwo{}
	}
	p.Add(grid())
	ways, places, points := e.points(r, panel)
	if len(places) == 0 {
		return nil, nil
	}
	named := slices.Equal(e.Picture.Across, e.Labels[:1]) // each way has its place, and its name there
	for i, way := range ways {
		s := points[way]
		if !e.Picture.Numeric && !named {
			for j := range s.XYs {
				s.XYs[j].X += 0.8 * ((float64(i)+0.5)/float64(len(ways)) - 0.5)
			}
		}
		scatter, err := add(p, s, slices.Index(e.ways(r), way), e.Picture.Numeric)
		if err != nil {
			return nil, err
		}
		if !named {
			p.Legend.Add(way, scatter)
		}
	}
	widen(&p.Y)
	if e.Picture.Numeric {
		widen(&p.X)
	} else {
		p.NominalX(places...)
		p.X.Min, p.X.Max = -0.5, float64(len(places))-0.5
		if !named {
			p.X.Max += 0.7 // room for the legend
		}
	}
	return p, nil
}

// widen gives a logarithmic axis room at both ends; were there one value on it, plot would do so downwards to below 0.
func widen(a *plot.Axis) {
	a.Min, a.Max = a.Min/1.3, a.Max*1.3
}

// ways are all that a result has: a way looks the same in each panel.
func (e *Experiment) ways(r *ExperimentResult) (ways []string) {
	for _, row := range r.Rows {
		if way := row.Labels[e.Labels[0]]; !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	return ways
}

// grid is the horizontal lines only.
func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal.Color = color.Gray{0xdd}
	return g
}

// points sorts a panel's rows by way; places are the values of Across, in the order in which they came.
func (e *Experiment) points(r *ExperimentResult, panel Panel) (ways, places []string, points map[string]*series) {
	points = make(map[string]*series)
rows:
	for _, row := range r.Rows {
		for label, value := range panel.Where {
			if row.Labels[label] != value {
				continue rows
			}
		}
		v, there := row.Values[cmp.Or(panel.Value, e.Picture.Value)]
		if !there || v.Min < least || v.Max > most {
			continue // a logarithm has no 0, and an axis no end of room
		}
		words := make([]string, len(e.Picture.Across))
		for i, l := range e.Picture.Across {
			words[i] = row.Labels[l]
		}
		place := strings.Join(words, ",\n")
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
		x := float64(slices.Index(places, place))
		if e.Picture.Numeric {
			n, err := strconv.ParseFloat(place, 64)
			if err != nil || !(n >= least && n <= most) {
				continue
			}
			x = n
		}
		way := row.Labels[e.Labels[0]]
		if points[way] == nil {
			ways, points[way] = append(ways, way), new(series)
		}
		s := points[way]
		s.XYs = append(s.XYs, plotter.XY{X: x, Y: v.Median})
		s.YErrors = append(s.YErrors, struct{ Low, High float64 }{v.Median - v.Min, v.Max - v.Median})
	}
	return ways, places, points
}

func add(p *plot.Plot, s *series, i int, lines bool) (*plotter.Scatter, error) {
	scatter, err := plotter.NewScatter(s.XYs)
	if err != nil {
		return nil, err
	}
	scatter.Color, scatter.Shape, scatter.Radius = palette[i%len(palette)], glyphs[i%len(glyphs)], vg.Points(2.5)
	bars, err := plotter.NewYErrorBars(s)
	if err != nil {
		return nil, err
	}
	bars.Color = scatter.Color
	p.Add(bars, scatter)
	if lines {
		line, err := plotter.NewLine(s.XYs)
		if err != nil {
			return nil, err
		}
		line.Color = scatter.Color
		p.Add(line)
	}
	return scatter, nil
}

// powersOfTwo marks sizes in bytes.
type powersOfTwo struct{}

// Ticks implements plot.Ticker.
func (powersOfTwo) Ticks(least, most float64) (ticks []plot.Tick) {
	for n := 0; n < 63; n++ {
		x := float64(uint64(1) << n)
		if x < least || x > most {
			continue
		}
		t := plot.Tick{Value: x}
		if n%2 == 0 {
			units := []string{"", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}
			t.Label = fmt.Sprintf("%d%s", uint64(1)<<(n%10), units[n/10])
		}
		ticks = append(ticks, t)
	}
	return ticks
}
