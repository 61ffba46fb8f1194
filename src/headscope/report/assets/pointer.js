// Whether the pointer moved. Browsers also send mouseover, and some of them moves, when the page scrolls or changes below
// a pointer that lies still, and such an event must not undo what a key chose.

let pointerPlace = [];
let hasMoved = false;

/** Call act(event) when the pointer moves over the element, and not when the element moves below it. */
export function onPointerMove(target, act) {
  target.addEventListener("pointermove", (event) => {
    if (hasMoved) act(event);
  });
}

// Before all others: places on the screen, which scrolling does not change.
document.addEventListener(
  "pointermove",
  ({ screenX, screenY }) => {
    hasMoved = pointerPlace[0] !== screenX || pointerPlace[1] !== screenY;
    pointerPlace = [screenX, screenY];
  },
  true,
);
