// Whether the pointer moved. Browsers also send mouseover and mousemove when the page scrolls or changes below a pointer
// that lies still, and such an event must not undo what a key chose.

let pointerPlace = null;
let hasMoved = false;

/** Call act(event) when the pointer moves over the element, and not when the element moves below it. */
export function onPointerMove(target, act) {
  target.addEventListener("pointermove", (event) => {
    if (hasMoved) act(event);
  });
}

// Before all others: places on the screen, which scrolling does not change. The first event has nothing to compare with.
document.addEventListener(
  "pointermove",
  ({ screenX, screenY, movementX, movementY }) => {
    hasMoved = pointerPlace ? pointerPlace.screenX !== screenX || pointerPlace.screenY !== screenY : movementX !== 0 || movementY !== 0;
    pointerPlace = { screenX, screenY };
  },
  true,
);
