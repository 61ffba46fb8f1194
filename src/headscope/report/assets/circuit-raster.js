// Thin lines as dots. A canvas takes 0.03 to 0.2 ms for each of its curves, longer for dashes and for lines wider than a
// dot, so that thousands take a fifth of a second, and five times that on a screen of two dots per pixel. A loop over
// the dots on their way takes half as long, and about a third on such a screen.

const DOTS_PER_PIECE = 24;

/** A picture of width × height dots of one colour, 0xbbggrr. curve() draws on top of what is there. */
export function makeRaster(width, height, ground) {
  const image = new ImageData(width, height);
  const dots = new Int32Array(image.data.buffer); // 0xaabbggrr, as processors with browsers order bytes
  dots.fill(0xff000000 | ground);

  /**
   * Draw a straight piece from a to b, dot by dot along its longer axis. drawn: the length of the curve before it.
   *
   * pen: colour 0xbbggrr, alpha, width and dash [on, off] in dots; null for a whole line.
   */
  function drawPiece(ax, ay, bx, by, drawn, { colour, alpha, width: penWidth, dash }) {
    const isSteep = Math.abs(by - ay) > Math.abs(bx - ax);
    const from = isSteep ? ay : ax;
    const to = isSteep ? by : bx;
    if (from === to) return;
    const side = isSteep ? ax : ay;
    const slope = ((isSteep ? bx : by) - side) / (to - from);
    const perDot = Math.sqrt(1 + slope * slope); // of length
    const thickness = penWidth * perDot; // along the shorter axis
    const breadth = isSteep ? width : height;
    // Dots whose middle lies in [from, to), so that two pieces that meet do not both draw one.
    const first = Math.max(0, Math.ceil(Math.min(from, to) - 0.5));
    const end = Math.min(isSteep ? height : width, Math.ceil(Math.max(from, to) - 0.5));
    const period = dash ? dash[0] + dash[1] : 0;
    const pace = from < to ? perDot : -perDot;
    let phase = dash ? (drawn + (first + 0.5 - from) * pace) % period : 0;
    let low = side + slope * (first + 0.5 - from) - thickness / 2;
    for (let dot = first; dot < end; dot++, low += slope) {
      if (!dash || phase < dash[0]) {
        const high = low + thickness;
        const last = Math.min(high, breadth);
        for (let place = Math.max(0, Math.floor(low)); place < last; place++) {
          const covered = Math.min(high, place + 1) - Math.max(low, place);
          const at = isSteep ? dot * width + place : place * width + dot;
          dots[at] = mixed(dots[at], colour, (256 * covered * alpha) | 0);
        }
      }
      if (dash) {
        phase += pace;
        if (phase >= period) phase -= period;
        else if (phase < 0) phase += period;
      }
    }
  }

  /** Draw a piece that runs along a column: every dot of a column is covered alike. Most of a circuit's length is such. */
  function drawUpright(x, from, to, drawn, { colour, alpha, width: penWidth, dash }) {
    const low = x - penWidth / 2;
    const high = low + penWidth;
    const first = Math.max(0, Math.ceil(Math.min(from, to) - 0.5));
    const end = Math.min(height, Math.ceil(Math.max(from, to) - 0.5));
    const period = dash ? dash[0] + dash[1] : 1;
    const pace = from < to ? 1 : -1;
    const before = dash ? (drawn + (first + 0.5 - from) * pace) % period : 0;
    for (let place = Math.max(0, Math.floor(low)); place < Math.min(high, width); place++) {
      const share = (256 * alpha * (Math.min(high, place + 1) - Math.max(low, place))) | 0;
      let phase = before;
      for (let at = first * width + place; at < end * width; at += width) {
        if (!dash || phase < dash[0]) dots[at] = mixed(dots[at], colour, share);
        phase += pace;
        if (phase >= period) phase -= period;
        else if (phase < 0) phase += period;
      }
    }
  }

  /** Draw Bezier segments, each two control points and an end, in straight pieces. scale: dots per unit. */
  function curve({ start, segments }, scale, pen) {
    let x = start.x * scale;
    let y = start.y * scale;
    let drawn = 0;
    for (const segment of segments) {
      const [ax, ay, bx, by, endX, endY] = segment.map((coordinate) => coordinate * scale);
      if (ax === x && bx === x && endX === x) {
        drawUpright(x, y, endY, drawn, pen);
        drawn += Math.abs(endY - y);
        y = endY;
        continue;
      }
      const count = Math.ceil(Math.hypot(endX - x, endY - y) / DOTS_PER_PIECE) + 3;
      let fromX = x;
      let fromY = y;
      for (let number = 1; number <= count; number++) {
        const t = number / count;
        const u = 1 - t;
        const toX = u * u * u * x + 3 * u * t * (u * ax + t * bx) + t * t * t * endX;
        const toY = u * u * u * y + 3 * u * t * (u * ay + t * by) + t * t * t * endY;
        drawPiece(fromX, fromY, toX, toY, drawn, pen);
        drawn += Math.hypot(toX - fromX, toY - fromY);
        fromX = toX;
        fromY = toY;
      }
      x = endX;
      y = endY;
    }
  }

  return { curve, image };
}

/** One opaque colour with share / 256 of another over it: red and blue in one multiplication, green in another. */
function mixed(below, above, share) {
  const rest = 256 - share;
  const redBlue = (Math.imul(below & 0xff00ff, rest) + Math.imul(above & 0xff00ff, share)) >>> 8;
  const green = (Math.imul(below & 0xff00, rest) + Math.imul(above & 0xff00, share)) >>> 8;
  return 0xff000000 | (redBlue & 0xff00ff) | (green & 0xff00);
}

/** A colour written as #rrggbb, as 0xbbggrr. */
export function packColour(text) {
  const [red, green, blue] = [1, 3, 5].map((place) => Number.parseInt(text.slice(place, place + 2), 16));
  return (blue << 16) | (green << 8) | red;
}
